"""Which layers matter: each is put back to earlier values, or drawn anew, in the trained network (section 3, figures 1 to 4)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.evaluation.statistics import rank_correlation
from tombola.models.groups import Unit
from tombola.studies import Details, Effect, Evidence, Figure, Results, Row, Step, Values, claim, dense, study
from tombola.studies.testbeds import NEAR_CHANCE
from tombola.studies.zhang2019 import common
from tombola.studies.zhang2019.common import ALIKE, RANDOM, REINIT, RMS, by_layer, fully_connected, near_chance


@study("zhang2019.robustness", task="fcn-digits", answers="Which layers of a trained network can be put back to their initial values?")
class Robustness(common.Classes):
    """Every layer put back to each of several checkpoints, and drawn anew."""

    scales = {"smoke": {"replicates": 2, "reset_to": ("0it", "1it"), "draws": 2}}
    columns = common.COLUMNS
    variants = {REINIT: "re-initialised", RANDOM: "re-randomised"}
    counted = "steps"

    reset_to: tuple[Step, ...] = ()
    """The checkpoints tau. If none is named, they are the paper's epochs 0, 1, 2, 3, 8, 40 and 90 of 100, as shares of training."""
    draws: Annotated[int, Field(ge=1, le=1000)] = 10
    """Fresh draws of each layer."""
    unit: Unit = "layer"
    """What is put back together: `layer`, `block`, `stage`."""

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            run = dense.dense_run(self, replicate)
            yield Row("dense", replicate, 0, run, measurement=self.reset(run, self._steps(), unit=self.unit, draws=self.draws))

    def _steps(self) -> tuple[Step, ...]:
        return common.checkpoints(self.task, self.reset_to)

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each layer and what it is reset to: checkpoints first, then draws."""
        epoch, end, names = (
            results.network_info(row.run.task).steps_per_epoch,
            results[row.run].end,
            common.units_of(results, self.task, self.unit),
        )
        steps = [step.iterations(epoch, end) for step in self._steps()]
        reset = [{"variant": REINIT, "level": level, "draw": 0, "step": step} for level, step in enumerate(steps)]
        drawn = [{"variant": RANDOM, "level": 0, "draw": draw, "step": steps[0]} for draw in range(self.draws)]
        columns = [(place, self.reset_values(row, results, names, column)) for column, place in enumerate([*reset, *drawn])]
        return [{**place, **values[index]} for index in range(len(names)) for place, values in columns]

    def details(self, results: Results) -> Details:
        """Errors by layer and column, and by layer and class."""
        rows, steps = list(self.rows()), self._steps()
        table = self.frame(rows, results)
        marks = self.classes(table[(table.variant == REINIT) & (table.level == 0)])
        column = [str(steps[row.level]) if row.variant == REINIT else "random" for row in table.itertuples()]
        names = ("density", "replicate", "row", "column", "error", "loss", "rms", "max", "cosine", "mark")
        maps = table.assign(row=table.arm, column=column, mark=table.arm.map(marks))[[*names]]
        without = np.zeros((len(marks), 1, 0))  # there may be no classes
        called = results.network_info(self.task).inputs.get("classes")
        by_class = [
            {"replicate": row.replicate, "row": layer, "mark": marks[layer], "column": str(name), "error": error}
            for row in rows
            for layer, errors in zip(marks, results.of(row).get("class_error", without), strict=True)
            for name, error in zip(called or range(errors.shape[1]), errors[0].tolist(), strict=True)
        ]
        return {"layers": maps, **({"classes": by_class} if by_class else {})}

    def figures(self) -> Sequence[Figure]:
        title = "Rise of the error against the distance that the layer has travelled, when it is put back to its initial values"
        rise, moved = (replace(panel, log=True) for panel in (self.rise, RMS))
        return (
            self.heat_map("layers", "Error when one layer is put back to step k, or drawn anew", self.error, RMS, across="put back to"),
            self.heat_map("classes", "Error by class when one layer is put back to its initial values", self.error, across="class"),
            Figure("distance", title, (rise,), "scatter", across=moved, variants=(REINIT,), levels=(0,)),
        )

    @claim(
        "LAY-C1",
        "section 3, figure 1",
        "In a fully connected network a fresh draw of any layer takes the error to chance.",
        about=fully_connected,
        note="A layer is at chance if it has gone at least 90 % of the way there, by the mean over draws.",
    )
    def fresh_draws(self, table: Evidence) -> Iterable[Effect]:
        way = 100 * by_layer(table.table, "way", RANDOM).min(axis=1)
        least, lacks = 100 * (1 - NEAR_CHANCE), near_chance(table.table)
        yield table.effect("way to chance of the layer that withstands a fresh draw best", "%", way, least=least, lacks=lacks)

    @claim(
        "LAY-C2",
        "section 3, figures 1 and 2",
        "Put back to its initial values, the first layer of a fully connected network is critical and matters more than any other; "
        "all others are robust.",
        about=fully_connected,
    )
    def first_layer(self, table: Evidence) -> Iterable[Effect]:
        rise, way = (100 * by_layer(table.table, metric) for metric in ("rise", "way"))
        others, allowed = rise.iloc[:, 1:].max(axis=1), 100 * self.limit_in(table.table)
        lacks = near_chance(table.table) or ("" if rise.shape[1] > 1 else "the network has no other layer")
        least = 100 * self.critical
        yield table.effect("way to chance with the first layer put back", "%", way.iloc[:, 0], least=least, lacks=lacks)
        name = "rise with the first layer put back, above that with any other"
        yield table.effect(name, "pp", rise.iloc[:, 0] - others, least=table.resolution, lacks=lacks)
        name = f"largest rise with another layer put back, below the {allowed:.2g} pp of a robust one"
        yield table.effect(name, "pp", allowed - others, lacks=lacks or self.no_room(table.table))

    @claim(
        "LAY-C3",
        "section 3, figures 1 and 2",
        "Put back to a later checkpoint, a layer raises the error less; the first layer of a fully connected network needs later ones than "
        "any other.",
        about=fully_connected,
        note="Less means a rank correlation of -0.5 or below. Later means by any number of checkpoints; a layer that none of them "
        "makes robust counts as needing one more than there are.",
    )
    def later_checkpoints(self, table: Evidence) -> Iterable[Effect]:
        rows = table.only(variant=REINIT)
        allowed = self.limit_in(rows.table)
        rise = {layer: rows.of("rise", layer) for layer in rows.table.arm.unique()}
        hurt = [layer for layer, values in rise.items() if values.iloc[:, 0].mean() > allowed]
        few = "" if rows.table.level.nunique() > 2 else "fewer than three checkpoints were run"
        lacks = near_chance(rows.table) or few or ("" if hurt else "all layers are robust at their initial values")
        rho = [[-rank_correlation(rise[layer].columns, own) for own in rise[layer].to_numpy()] for layer in hurt]
        repair = list(np.mean(np.nan_to_num(rho), axis=0)) if hurt else []  # what stays the same is not repaired
        yield table.effect("-rank correlation of the rise with the checkpoint", "rho", repair, least=ALIKE, lacks=lacks)
        first, *others = ([_needed(own, allowed) for own in values.to_numpy()] for values in rise.values())
        later = list(np.subtract(first, np.max(others, axis=0))) if others else []
        lacks = lacks or ("" if next(iter(rise)) in hurt else "the first layer is robust at its initial values")
        yield table.effect("checkpoints that the first layer needs beyond any other to be robust", "checkpoints", later, lacks=lacks)

    @claim(
        "LAY-C4",
        "section 3, figure 1",
        "That a layer matters does not follow from how far it has travelled, neither by the 2-norm over the root of its size nor by the "
        "maximum norm.",
        note="Does not follow: a rank correlation over layers below 0.5.",
    )
    def distance(self, table: Evidence) -> Iterable[Effect]:
        rise = by_layer(table.table, "rise")
        lacks = near_chance(table.table) or ("" if rise.shape[1] > 3 else f"a rank correlation over {rise.shape[1]} layers says nothing")
        for metric, name in (("rms", "2-norm over sqrt(size)"), ("max", "maximum norm")):
            moved = by_layer(table.table, metric)
            rho = [-rank_correlation(rise.loc[one], moved.loc[one]) for one in rise.index]
            yield table.effect(f"-rank correlation over layers of the rise with the {name}", "rho", rho, least=-ALIKE, lacks=lacks)


def _needed(rise: np.ndarray, allowed: float) -> int:
    """The first place from which on a layer is robust; the number of places if there is none.

    >>> _needed(np.array([0.5, 0.0, 0.2, 0.01]), 0.02), _needed(np.array([0.0, 0.0]), 0.02), _needed(np.array([0.5]), 0.02)
    (3, 0, 1)
    """
    return next((place + 1 for place in reversed(range(len(rise))) if rise[place] > allowed), 0)
