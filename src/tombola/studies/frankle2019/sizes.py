"""Parents of several sizes, at equal remaining weights (appendix)."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tombola.studies import Effect, Evidence, Figure, Results, Row, Scale, Task, TombolaError, Values, claim, study
from tombola.studies.frankle2019.common import OfPaper, at_points_of
from tombola.studies.tickets import ACC_ES, ACC_FINAL, ES, RUN_METRICS, Level, chain_rows, distinct, run_metrics, tickets


@study("frankle2019.sizes", task="mnist1d-mlp", answers="At as many remaining weights, does a larger parent give a better ticket?")
class Sizes(OfPaper):
    """A chain of tickets for each parent, compared where as many weights remain."""

    columns = RUN_METRICS

    parents: Annotated[tuple[dict[str, Any], ...], Field(min_length=2)] = (
        {"widths": [50, 17]},
        {"widths": [100, 33]},
        {"widths": [300, 100]},
        {"widths": [600, 200]},
    )
    """The options of the task's model for each parent network, from small to large."""
    rounds: tuple[Level, ...] = (9, 13, 20, 26)
    """The rounds of pruning of each parent network. Larger ones need more of them to come down to the same number of weights."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        fields: dict[str, Any] = {}
        if task.model.name != "mlp":
            width = {"resnet": 16}.get(task.model.name, 64)
            fields = {"parents": tuple({"width": width // part} for part in (4, 2, 1)), "rounds": (8, 14, 20)}
        if scale == "smoke":
            parents = fields.get("parents", cls.model_fields["parents"].default)
            fields = {"parents": parents[:2], "rounds": (1, 2), "replicates": 2}
        return fields

    @property
    def arms(self) -> Mapping[str, str]:
        return {_label(options): f"parent {_label(options)}" for options in self.parents}

    def rows(self) -> Iterable[Row]:
        """The rows, parent by parent."""
        if len(self.rounds) != len(self.parents):
            raise TombolaError(f"rounds: {len(self.rounds)} are given for {len(self.parents)} parents; give one number of rounds for each")
        distinct("parents", [_label(options) for options in self.parents])
        for options, rounds in zip(self.parents, self.rounds, strict=True):
            task = self.task.but(model=self.task.model.but(options={**self.task.model.options, **options}))
            for replicate in range(self.replicates):
                yield from chain_rows(_label(options), replicate, tickets(self, replicate, task, levels=rounds))

    def measure(self, row: Row, results: Results) -> Values:
        return run_metrics(row, results)

    def figures(self) -> Sequence[Figure]:
        caption = "Parent networks of several sizes are pruned iteratively; the axis counts the weights that remain."
        return [Figure("sizes", "Parents of several sizes", (ES, ACC_ES, ACC_FINAL), x="kept", caption=caption)]

    @claim(
        "LTH-C16",
        "appendix",
        "At the same number of remaining weights, tickets of larger parents are more accurate.",
        note="It is judged for neighbours in size, at all counts of the smaller parent's tickets that the larger one's reach. Densities "
        "are the smaller's.",
    )
    def larger_parents_win(self, table: Evidence) -> Iterable[Effect]:
        for smaller, larger in itertools.pairwise(self.arms):
            both = at_points_of(table, larger, smaller, x="kept")
            yield both.above(larger, smaller, ACC_ES, both.levels(0, 1))


def _label(options: dict[str, Any]) -> str:
    """300-100 for widths [300, 100]; else name and value."""
    parts = ["-".join(map(str, value)) if isinstance(value, list | tuple) else f"{name} {value}" for name, value in options.items()]
    return " ".join(parts) or "as given"
