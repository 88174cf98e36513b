"""Deep networks: learning rate, warm-up, and global against layer-wise pruning (section 4, figures 7 and 8)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tombola.studies import DENSE, Effect, Evidence, Figure, Row, Scale, Step, Task, claim, study
from tombola.studies.claims import about
from tombola.studies.frankle2019.common import Compared
from tombola.studies.tickets import ACC_ES, ACC_FINAL, Positive, chain_rows, tickets


@study(
    "frankle2019.warmup",
    task="resnet20-cifar10-2019",
    answers="Do deep networks have winning tickets at high learning rates, and what does warm-up change?",
)
class Warmup(Compared):
    """Tickets by global and by layer-wise pruning, and re-initialised ones, at three learning-rate schedules.

    All train by SGD with momentum, whatever the task has.
    """

    chosen = {"scope": "this study compares both scopes; leave it as it is"}
    scales = {
        "smoke": {"replicates": 2, "levels": 2},
        "small": {"replicates": 6, "levels": 13, "compared": (4, 7, 10, 13)},
        "paper": {"replicates": 6, "levels": 20},
    }
    arms = {"ticket": "ticket, global pruning", "layer": "ticket, layer-wise pruning", "reinit": "global mask, fresh init"}

    high: Positive = 0.1
    """The high learning rate."""
    low: Positive = 0.01
    """The low learning rate."""
    warm: Positive = 0.1
    """The learning rate that the warm-up rises to."""
    rise: Annotated[float, Field(gt=0, le=1)] = 0.09
    """The length of the linear warm-up, as a share of training."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        """VGG-19 has rate .1 and 10,000 of 112,480 iterations of warm-up; the ResNet rate .03 and 20,000 of 30,000."""
        warm = {"warm": 0.03, "rise": 2 / 3} if task.model.name == "resnet" else {}
        return {**cls.scales[scale], **warm}

    @property
    def variants(self) -> Mapping[str, str]:
        warm = f"rate {self.warm:g}, warm-up {self._length()}"
        return {"high": f"rate {self.high:g}", "low": f"rate {self.low:g}", "warm": warm}

    def _length(self) -> Step:
        return self.task.recipe.steps.times(self.rise)

    def rows(self) -> Iterable[Row]:
        """Schedule by schedule: tickets and re-initialisations of global pruning, then layer-wise ones."""
        even = {name: max(self.rates.values()) if rate else 0.0 for name, rate in self.rates.items()}  # global pruning has one rate
        for variant, rate, length in (("high", self.high, "0it"), ("low", self.low, "0it"), ("warm", self.warm, self._length())):
            task = self.task.but(recipe=self.task.recipe.but(optimizer="momentum", learning_rate=rate, warmup=length))
            for replicate in range(self.replicates):
                yield from self.compared_rows(replicate, tickets(self, replicate, task, scope="global", rates=even), variant)
                yield from chain_rows("layer", replicate, tickets(self, replicate, task, scope="layer"), variant, first=1)

    def figures(self) -> Sequence[Figure]:
        caption = "Compare the paper's figures 7 and 8."
        return [Figure("warmup", "Learning rate, warm-up and the scope of pruning", (ACC_ES, ACC_FINAL), caption=caption)]

    def differs_from(self, named: str, model: str, warm: float) -> str:
        """Why a sentence is not about the network and the learning rates here; "" if it is."""
        rates = (
            "" if (self.high, self.low, self.warm) == (0.1, 0.01, warm) else f"the claim is about rates .1, .01 and {warm:g} with warm-up"
        )
        return about(named, model)(self) or rates

    @claim(
        "LTH-C21",
        "section 4, figure 7",
        "VGG-19 has no winning tickets at rate .1; at .01 tickets come near the dense network's accuracy; by warm-up at rate .1 there are "
        "winning tickets down to 1.5 % density by global pruning, where those of layer-wise pruning end at 6.9 %.",
        about=lambda study: study.differs_from("VGG-19", "vgg", warm=0.1),
    )
    def vgg_needs_warmup(self, table: Evidence) -> Iterable[Effect]:
        yield _none_at_the_high_rate(table, 0.069)
        yield from _found(table.only(variant="low"), 0.069, allowed=1.0)
        yield from _found(table.only(variant="warm"), 0.014)
        warm = table.only(variant="warm")
        yield warm.above("ticket", "layer", ACC_FINAL, warm.levels(0.014, 0.069), note="the paper: layer-wise tickets end at 6.9 %")

    @claim(
        "LTH-C22",
        "section 4, figure 8",
        "The 20-layer ResNet has no winning tickets at rate .1, some at .01 down to 21.9 % density, and smaller ones by warm-up at rate "
        ".03, down to 11.8 %.",
        about=lambda study: study.differs_from("the 20-layer ResNet", "resnet", warm=0.03),
    )
    def resnet_needs_warmup(self, table: Evidence) -> Iterable[Effect]:
        yield _none_at_the_high_rate(table, 0.21)
        yield from _found(table.only(variant="low"), 0.21)
        yield from _found(table.only(variant="warm"), 0.117)
        low = table.only(variant="low")
        note = "at the densities that only warm-up reaches"
        yield low.above(DENSE, "ticket", ACC_FINAL, low.levels(0.117, 0.21), least=table.margin, note=note)


def _none_at_the_high_rate(table: Evidence, least: float) -> Effect:
    high = table.only(variant="high")
    return high.within("reinit", "ticket", ACC_FINAL, high.levels(least, 0.7), note="no better than its re-initialisation")


def _found(rows: Evidence, least: float, allowed: float | None = None) -> Iterable[Effect]:
    """The effects of winning tickets at densities above `least`: they match the dense network and are above their re-initialisations."""
    at = rows.levels(least, 0.7)
    yield rows.above("ticket", "reinit", ACC_FINAL, at)
    yield rows.within("ticket", DENSE, ACC_FINAL, at, allowed=allowed)
