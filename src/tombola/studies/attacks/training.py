"""Adversarial training, sparse: does pruning help it, and whose masks help most?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tombola.core.task import Count, Task
from tombola.evaluation.paired import at_an_end
from tombola.studies import Action, Effect, Evidence, Figure, Known, Panel, Positive, Row, Run, Scale, aside, claim, study, tickets
from tombola.studies.attacks.common import PGD, UnderAttack
from tombola.studies.testbeds import near_chance, network_of

PUBLISHED = {1.0: 45.3, 0.513: 60.1, 0.169: 59.9, 0.036: 48.8}
"""Density -> accuracy under PGD in per cent of LeNet on MNIST at radius .3 (Cosentino et al. 2019)."""
HELPS = 1.0
"""Least difference, in pp, that counts."""


@study("attacks.training", task="digits-mlp", answers="Does pruning help adversarial training, and should masks be found under attack?")
class Training(UnderAttack):
    """Masks found by standard or by adversarial training, each trained in both ways from the same initial values."""

    paper = "Tombola's own question, after Cosentino et al. 2019"
    arms = {
        "adversarial": "mask and training adversarial",
        "standard_mask": "standard mask, adversarial training",
        "adversarial_mask": "adversarial mask, standard training",
        "standard": "mask and training standard",
    }

    train_eps: Positive = 0.1
    """The radius of attacks during adversarial training. If none is named, it is .3 for MNIST."""
    train_steps: Count = 7
    """Steps of projected gradient descent on each training batch."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        found = {**super().at(scale, task), **({"train_eps": 0.3} if task.data.name == "mnist" else {})}
        return {**found, **({"train_steps": 2} if scale == "smoke" else {})}

    @property
    def attacked_task(self) -> Task:
        """The same task, learnt on attacked inputs."""
        return self.task.but(objective={"spec": "adversarial", "eps": self.train_eps, "steps": self.train_steps})

    def rows(self) -> Iterable[Row]:
        """Two chains of iterative pruning, and each chain's masks under the other training."""
        for replicate in range(self.replicates):
            chains = {name: tickets(self, replicate, task) for name, task in (("standard", self.task), ("adversarial", self.attacked_task))}
            for name, chain in chains.items():
                yield from self.rows_of(name, replicate, chain)
            for arm, mask, trained in (("standard_mask", "standard", "adversarial"), ("adversarial_mask", "adversarial", "standard")):
                runs = [self._under(mask_run, own) for mask_run, own in zip(chains[mask], chains[trained], strict=True)]
                yield from self.rows_of(arm, replicate, [chains[trained][0], *runs[1:]], 1)

    def _under(self, mask: Run, own: Run) -> Run:
        """A run's training from its own start under another's mask."""
        return own.but(mask=Action(name="parent_mask", of=(mask.its_mask(),)))

    def figures(self) -> Sequence[Figure]:
        said = f"{self.ensemble} Adversarial training is with PGD-{self.train_steps} at radius {self.train_eps:g}."
        title = "Accuracy under attack by mask and training"
        found = [Figure("training", title, (self.robust_figure("", "").panels[0],), caption=said)]
        known = tuple(Known(value / 100, "Cosentino et al. 2019", x) for x, value in PUBLISHED.items()) if self._published() else ()
        pgd = Panel(PGD.metric, PGD.label, 100, paper=known)
        return [
            *found,
            Figure("pgd", "Accuracy under PGD, adversarial training", (pgd,), arms=("adversarial", "standard_mask"), caption=said),
        ]

    def _published(self) -> bool:
        return network_of(self.task) == "fc" and self.train_eps == 0.3

    @claim(
        "ATT-C2",
        "I5; Cosentino et al. 2019",
        "Under adversarial training, tickets of 50 to 15 % density are more accurate under PGD than the dense network, and at 4 % that is "
        "lost again.",
        about=lambda study: "" if study._published() else "the published numbers are of LeNet on MNIST at radius .3",
        note=f"More accurate means by more than {HELPS:g} pp at the radius of training. It is lost if tickets of 3 to 6 % are below "
        "the mean of those of 50 to 15 %. The dense network has to learn under attack.",
    )
    def sparsity_helps(self, table: Evidence) -> Iterable[Effect]:
        table = table.only(variant=self._own_radius())
        at, sparse = table.levels(0.15, 0.55), table.levels(0.03, 0.06)
        dense = table.of(PGD, "adversarial", [0])
        middle, last = (table.of(PGD, "adversarial", levels) for levels in (at, sparse))
        lacks = table.lacking(["adversarial"], PGD.metric, at) or self._stuck(table)
        yield table.effect(
            f"above the dense network{table.said(at)}", "pp", middle.mean(axis=1) - dense.mean(axis=1), least=HELPS, lacks=lacks
        )
        lacks = lacks or table.lacking(["adversarial"], PGD.metric, sparse)
        yield table.effect(f"lost{table.said(sparse)}", "pp", middle.mean(axis=1) - last.mean(axis=1), least=HELPS, lacks=lacks)

    @claim(
        "ATT-C5",
        "I5",
        "Masks found under adversarial training help adversarial training more than masks found by standard training.",
        note=f"To help more is to be above by more than {HELPS:g} pp of accuracy under all attacks, at 3 to 50 % density and at the "
        "radius of training. The dense network has to learn under attack.",
    )
    def own_masks_help(self, table: Evidence) -> Iterable[Effect]:
        table = table.only(variant=self._own_radius())
        at = table.levels(0.03, 0.5)
        yield self._better(table, "adversarial", "standard_mask", at)
        yield aside(self._better(table, "standard", "adversarial_mask", at))

    def _stuck(self, table: Evidence) -> str:
        """Why nothing is said of adversarial training that has taught the dense network nothing."""
        clean = 100 * table.of("clean_acc", "adversarial", [0]).to_numpy()
        if clean.size and near_chance(clean.mean(), self.task):
            return f"adversarial training leaves the dense network near chance: unattacked its accuracy is {clean.mean():.1f} %"
        return ""

    def _own_radius(self) -> str:
        """The variant at the radius of training, or next to it."""
        return f"{min(self.eps, key=lambda eps: abs(eps - self.train_eps)):g}"

    def _better(self, table: Evidence, one: str, other: str, at: Sequence[int]) -> Effect:
        first, second = table.pair(one, other, self.robust_figure("", "").panels[0], at)
        name = f"{table.called(one)} above {table.called(other)}: accuracy under attack{table.said(at)}"
        lacks = table.lacking([one, other], "robust_acc", at) or self._stuck(table)
        lacks = lacks or at_an_end("accuracy under attack", {one: first, other: second}, HELPS)
        return table.effect(name, "pp", first - second, least=HELPS, lacks=lacks)
