"""Signs or magnitudes: what of a ticket's initial values makes it win, over density, optimiser and depth (after section 3)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tombola.core.task import Count, Task
from tombola.studies import Effect, Evidence, Figure, Row, Run, Scale, Setting, TombolaError, claim, hardest, study
from tombola.studies.tickets import ACC_ES, Each, chain_rows, distinct, tickets
from tombola.studies.zhou2019.common import SPARSE_NOTE, Masked, accuracy, drawn, sparse_levels, under

OWN = Setting()
MOMENTUM = Setting(recipe={"optimizer": "momentum", "learning_rate": 0.03})
ADAM = Setting(recipe={"optimizer": "adam", "learning_rate": 1.2e-3})
NOTE = f"{SPARSE_NOTE} It is to hold in every setting, and is judged in the hardest."


@study(
    "zhou2019.signs",
    task="mnist1d-mlp",
    answers="Do signs or magnitudes make a ticket win, and does that hold over density, optimiser and depth?",
)
class Signs(Masked):
    """Tickets of which signs or magnitudes are drawn anew, in several settings.

    Under the ticket's mask: its own weights; its signs under drawn magnitudes; its magnitudes under drawn signs; a draw.
    """

    paper = ""
    arms = {"both": "signs and magnitudes", "signs": "signs only", "magnitudes": "magnitudes only", "neither": "neither"}

    settings: Annotated[tuple[Setting, ...], Field(min_length=1)] = (OWN, MOMENTUM)
    """The optimisers that are compared, at the task's depth."""
    depths: Each[Count] = ()
    """Numbers of hidden layers of further fully connected networks under the task's recipe. They are as wide as the task's own, the last of
    whose layers is repeated."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        other = ADAM if task.recipe.optimizer == "momentum" else MOMENTUM
        depths = [depth for depth in (1, 3) if depth != len(_widths(task))] if task.model.name == "mlp" else []
        return {**super().at(scale, task), "settings": (OWN, other), "depths": tuple(depths)}

    @property
    def variants(self) -> Mapping[str, str]:
        return {label: label for label in self._tasks()}

    def rows(self) -> Iterable[Row]:
        """All levels of each arm, in each setting and depth."""
        for label, task in self._tasks().items():
            for replicate in range(self.replicates):
                chain = tickets(self, replicate, task)
                for arm in self.arms:
                    yield from chain_rows(arm, replicate, self._chain(chain, arm), label)

    def _tasks(self) -> dict[str, Task]:
        """Label to task, of each setting and depth."""
        if self.depths and self.task.model.name != "mlp":
            raise TombolaError(
                f"depths = {list(self.depths)}: only of the model 'mlp', not {self.task.model.name!r}; leave them out: --set depths=[]"
            )
        distinct("settings", [setting.label(self.task) for setting in self.settings])
        found, own = {setting.label(self.task): setting.of(self.task) for setting in self.settings}, _widths(self.task)
        for depth in self.depths:
            widths = [*own, *own[-1:] * depth][:depth]
            label = f"{depth} hidden {'layer' if depth == 1 else 'layers'}: {'-'.join(map(str, widths))}"
            found[label] = self.task.but(model=self.task.model.but(options={**self.task.model.options, "widths": widths}))
        return found

    def _chain(self, chain: Sequence[Run], arm: str) -> list[Run]:
        if arm == "both":
            return [*chain]
        name = "random_signs" if arm == "magnitudes" else "reinit"
        kept = [drawn(name, chain[0], self.pruning.rewind, level, keep_sign=arm == "signs") for level in range(len(chain))]
        return [chain[0], *(under(ticket, kept[level]) for level, ticket in enumerate(chain[1:], 1))]

    def figures(self) -> Sequence[Figure]:
        return (
            accuracy("signs", "Signs and magnitudes of tickets", caption="All networks have the masks of the rewound tickets.", both=False),
        )

    @claim("ZHOU-O1", "open question", "A ticket's signs are worth more than its magnitudes.", note=NOTE)
    def signs_beat_magnitudes(self, table: Evidence) -> Iterable[Effect]:
        yield from hardest(one.above("signs", "magnitudes", ACC_ES, sparse_levels(one.table)) for one in _settings(table))

    @claim("ZHOU-O2", "open question", "With its signs alone a ticket is as good as with both.", note=NOTE)
    def signs_suffice(self, table: Evidence) -> Iterable[Effect]:
        yield from hardest(one.within("signs", "both", ACC_ES, sparse_levels(one.table)) for one in _settings(table))


def _settings(table: Evidence) -> list[Evidence]:
    return [table.only(variant=variant) for variant in table.table.variant.unique()]


def _widths(task: Task) -> list[int]:
    return list(task.model.options.get("widths", (300, 100)))
