"""Heuristic supermasks: what the masks of a trained network are worth on the untrained one (section 5)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.pruning.criteria import criteria
from tombola.studies import Effect, Figure, Measurement, Panel, Row, TombolaError, Values, dense_run, picture, study
from tombola.studies.claims import claim
from tombola.studies.evidence import Evidence, hardest
from tombola.studies.results import Column, Details, Results
from tombola.studies.tickets import Levels, PruningStudy, Several
from tombola.studies.zhou2019.common import ACC, PAPER, VALUES, best

SAME = "large_final_same_sign"
LEARNT = ("large_final", "magnitude_increase", "movement", "large_init_large_final", SAME)
"""Criteria that keep what training made large, or moved."""
OTHERS = ("large_init", "random", "small_init", "small_init_small_final", "small_final", "large_final_diff_sign")
SD = 3
"""Standard deviations of the layer's initialiser, on either side of 0, that a picture spans."""

VALUES_NOTE = (
    "Each replicate's masks are made at once from the initial and final values of one dense run. Signed constants have the initial signs, "
    "and one standard deviation of the layer's initialiser as their size."
)


@study(
    "zhou2019.supermask",
    task="mnist1d-mlp",
    answers="Does the mask of a trained network alone make the untrained network better than chance?",
)
class Supermasks(PruningStudy):
    """Test accuracy without training, of every criterion's one-shot masks, by density and by what kept weights are."""

    paper = PAPER
    scales = {"smoke": {"replicates": 2, "levels": 3, "pictured": (2,), "criteria": (SAME, "large_final", "random")}}
    columns = ("acc", "validation_acc", "chance_acc", "dense_acc")
    variants = VALUES
    arms = {name: name.replace("_", " ") for name in (SAME, *LEARNT, *OTHERS)}
    chosen = {
        "criterion": "this study compares several; set criteria instead",
        **dict.fromkeys(("structure", "rewind", "prune_at"), "masks of single weights at the end are put on initial values; leave it"),
    }

    criteria: Several[str] = tuple(arms)
    """The criteria that choose the masks."""
    levels: Levels = 24
    """The number of rounds L. Mask l keeps what l rounds of pruning at `rates` leave."""
    pictured: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=4)] = (4, 8, 14)
    """The rounds whose masks are shown in the plane of initial and final values."""

    def rows(self) -> Iterable[Row]:
        """The dense run of a replicate, measured under the masks of each criterion."""
        for name in self.criteria:
            criteria.check(name)
        if beyond := [level for level in self.pictured if level > self.levels]:
            raise TombolaError(f"pictured = {list(self.pictured)}, but there are only {self.levels} levels; leave {beyond[0]} out")
        for criterion in self.criteria:
            for replicate in range(self.replicates):
                yield Row(criterion, replicate, 0, dense_run(self, replicate), measurement=self._measurement(criterion, replicate))

    def _measurement(self, criterion: str, replicate: int) -> Measurement:
        run = dense_run(self, replicate)
        pruning = self.pruning.but(criterion=criterion).options(run.task)
        options = {**pruning, "rounds": self.levels, "pictured": list(self.pictured)}
        return Measurement(task=run.task, seed=run.seed, name="heuristic_supermasks", of=(run.at("0it"), run.at("end")), options=options)

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each mask and each kind of kept values."""
        found, column = results.of(row), self.task.objective.columns[1]
        return [
            {
                "variant": values,
                "level": level,
                "density": float(density),
                "acc": float(found[f"{values}_{column}"][level]),
                "validation_acc": float(found[f"{values}_validation_{column}"][level]),
                "dense_acc": results[row.run].shown("test"),
                "chance_acc": float(self.task.objective.headline_of(found["test_chance"])),
            }
            for values in VALUES
            for level, density in enumerate(found["density"])
        ]

    def details(self, results: Results) -> Details:
        """Shares of weights kept, by final and initial value, averaged over replicates."""
        pictures = []
        for criterion in self.criteria:
            found = [results.measured(self._measurement(criterion, replicate)) for replicate in range(self.replicates)]
            for level in self.pictured:
                share = np.array([one[f"picture/{level}"] for one in found])
                there = np.isfinite(share).sum(axis=0)
                mean = np.divide(np.nansum(share, axis=0), there, out=np.zeros_like(share[0]), where=there > 0)[::-1]
                density = float(np.mean([one["density"][level] for one in found]))
                pictures.append(picture(mean, arm=criterion, level=level, density=density))
        return {"picture": pictures}

    def figures(self) -> Sequence[Figure]:
        learnt, others = (tuple(name for name in self.criteria if (name in LEARNT) == wanted) for wanted in (True, False))
        panels, title = (
            (replace(ACC, label="test accuracy, untrained (%)"),),
            "Accuracy without training under masks of the trained network",
        )
        pictures = Figure(
            "picture",
            "What a supermask keeps: share of weights by initial and final value",
            (Panel("value", "weights kept (%)", 100),),
            "image",
            detail="picture",
            arms=learnt or self.criteria[:1],
            x_label="initial value (s.d.)",
            y_label="final value (s.d.)",
            span=(-SD, SD),
            caption=f"Values are in standard deviations of the layer's initialiser, up to {SD}. White is where no weight is.",
        )
        found = (
            Figure("supermask", title, panels, arms=learnt, caption=VALUES_NOTE),
            Figure("others", f"{title}: other criteria", panels, arms=others, caption=VALUES_NOTE),
        )
        return [*(figure for figure in found if figure.arms), pictures]

    @claim(
        "ZHOU-C6",
        "section 5",
        "Masks of a trained network lift the untrained one above chance, most where weights that changed sign are left out, and further "
        "on a signed constant.",
        note="Each mask at the density that does best on validation examples. Chance is what the same choice makes of random masks. Most "
        "is more than under each other criterion that looks at final values, judged against the hardest.",
    )
    def masks_alone_classify(self, table: Evidence) -> Iterable[Effect]:
        init, constant = (table.only(variant=values) for values in VALUES)
        yield _above(init, "large_final", "random")
        yield from hardest(_above(init, SAME, other) for other in LEARNT[:-1])
        name = f"{table.called(SAME)}: signed constant above initial values"
        ends = [_best(one, SAME) for one in (constant, init)]
        yield table.effect(name, "pp", ends[0] - ends[1], least=table.resolution, lacks=_lacking(table, SAME), note=_means(*ends))


def _above(table: Evidence, better: str, worse: str) -> Effect:
    one, other = (_best(table, arm) for arm in (better, worse))
    name = f"{table.called(better)} above {table.called(worse)}"
    return table.effect(name, "pp", one - other, least=table.resolution, lacks=_lacking(table, better, worse), note=_means(one, other))


def _best(table: Evidence, arm: str) -> Column:
    """Replicate -> test accuracy in per cent at the density that does best on validation examples, the whole network left out."""
    rows = table.table
    return 100 * best(rows[(rows.arm == arm) & (rows.level > 0)], "validation_acc").acc


def _lacking(table: Evidence, *arms: str) -> str:
    return table.lacking(arms, "acc", [*table.table.level.unique()])


def _means(one: Column, other: Column) -> str:
    return f"{one.mean():.1f} % and {other.mean():.1f} %" if len(one) and len(other) else ""
