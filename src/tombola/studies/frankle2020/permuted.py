"""Is the barrier one of permutation? Units of one network are matched with the other's before the path is walked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from tombola.studies import Action, Effect, Evidence, Figure, Row, Run, Scale, Several, Task, claim, study
from tombola.studies.frankle2020.common import ACCURACY, DISTANCE, NOT_TRAVELLED, Children, dense_run


@study("frankle2020.permuted", task="digits-mlp", answers="Does the barrier between networks vanish when their units are matched?")
class Permuted(Children):
    """Barriers before and after weight matching, between networks of the same initialisation and of others, over sizes.

    All are trained on the same data under SGD noise of their own.
    """

    paper = ""
    columns = NOT_TRAVELLED
    counted = "rounds"
    arms = {
        "same": "same initialisation",
        "same_matched": "same initialisation, units matched",
        "other": "other initialisation",
        "other_matched": "other initialisation, units matched",
    }

    sizes: Several[dict[str, Any]] = ({},)
    """Options of the model for each size, such as {"widths": [200, 100]}; {} is the task's own size."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        widths = task.model.options.get("widths") if task.model.name == "mlp" else None
        sizes = {"sizes": ({}, *({"widths": [factor * width for width in widths]} for factor in (2, 4)))} if widths else {}
        return {**sizes, **super().at(scale, task)}

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            for level, options in enumerate(self.sizes):
                task = self.task.but(model=self.task.model.but(options={**self.task.model.options, **options}))
                dense = dense_run(self, replicate, task)
                for arm, networks in self._networks(dense).items():
                    for draw, (first, second) in enumerate(combinations(networks, 2)):
                        for name, more in ((arm, {}), (f"{arm}_matched", {"matched": True})):
                            path = self.path_between(first, second, dense, **more)
                            yield Row(name, replicate, level, first, draw, measurement=path)

    def _networks(self, dense: Run) -> dict[str, list[Run]]:
        same = self.children_of(dense)
        fresh = [run.but(kept=Action(name="reinit", options={"stream": f"reinit/{index}"})) for index, run in enumerate(same)]
        return {"same": same, "other": fresh}

    def figures(self) -> Sequence[Figure]:
        panels, label = (replace(self.barrier, log=True), DISTANCE, ACCURACY), "weights of the network"
        return (Figure("permuted", "Before and after weight matching", panels, x="kept", x_label=label, caption=self.evaluated),)

    @claim(
        "LMC-O4",
        "Ainsworth et al. 2023; Entezari et al. 2022",
        "Networks of different initialisations are linearly connected once their units are matched, and not before.",
        note="Judged at the last size.",
    )
    def connected_once_matched(self, table: Evidence) -> Iterable[Effect]:
        last = table.only(level=len(self.sizes) - 1)
        before = last.only(arm="other").table.instability.mean()
        lacks = "" if before >= self.stable else "no barrier before matching, so that there is none to remove"
        yield self.is_stable(last, "other_matched", last.table.level.unique(), lacks=lacks)
        yield self.is_stable(last, "other", last.table.level.unique(), False, lacks=lacks)
