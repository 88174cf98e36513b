"""Layers over widths and depths: how many are critical, against capacity (section 3.1)."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from tombola.core.task import Count
from tombola.evaluation.statistics import rank_correlation
from tombola.studies import Each, Effect, Evidence, Figure, Panel, Results, Row, Several, TombolaError, Values, claim, dense_run, study
from tombola.studies.zhang2019 import common
from tombola.studies.zhang2019.common import ALIKE, near_chance

WHOLE = "network"


@study("zhang2019.capacity", task="fcn-digits", answers="Do wider and deeper networks have fewer critical layers?")
class Capacity(common.Classes):
    """Layers put back to their initial values, over a grid of fully connected networks."""

    scales = {"smoke": {"replicates": 2, "widths": (8, 16), "depths": (1, 2)}}
    columns = (
        "width", "depth", "parameters", "step", "rise", "way", "rms", "robust", "between", "critical", "share_critical",
        "own_error", "gap", "chance", "kept", "prunable",
    )  # fmt: skip
    """Columns `rise`, `way`, `rms` of single layers; of whole networks the numbers of `robust`, `between` and `critical` layers, and
    `gap`, the accuracy of training less that of the test."""
    counted = "widths"

    widths: Annotated[Each[Count], Field(min_length=2)] = (16, 64, 256)
    """Numbers of units in every hidden layer."""
    depths: Several[Count] = (2, 3, 5)
    """Numbers of hidden layers."""

    @model_validator(mode="after")
    def _is_a_grid(self) -> Self:
        if (model := self.task.model.name) != "mlp":
            raise TombolaError(f"the grid of widths and depths is of the model 'mlp', not {model!r}; choose a task such as fcn-digits")
        return self

    @property
    def arms(self) -> dict[str, str]:
        return {str(depth): f"{depth} hidden layer{'s' * (depth > 1)}" for depth in sorted(self.depths)}

    @property
    def variants(self) -> dict[str, str]:
        return {WHOLE: "whole network", **{name: name for name in self._layers()}}

    def _layers(self) -> tuple[str, ...]:
        return (*(f"hidden{index + 1}" for index in range(max(self.depths))), "output")

    def rows(self) -> Iterable[Row]:
        sizes = [(depth, level) for depth in sorted(self.depths) for level in range(len(self.widths))]
        return [self._row(depth, level, replicate) for depth, level in sizes for replicate in range(self.replicates)]

    def _row(self, depth: int, level: int, replicate: int) -> Row:
        model, width = self.task.model, sorted(self.widths)[level]
        task = self.task.but(model=model.but(options={**model.options, "widths": [width] * depth}))
        run = dense_run(self, replicate, task)
        return Row(str(depth), replicate, level, run, measurement=self.reset(run))

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for the network, and one for each layer, which is the row's variant."""
        task, result, depth = row.run.task, results[row.run], int(row.arm)
        layers = self.reset_values(row, results, common.units_of(results, task))
        peers = [self._row(depth, row.level, replicate) for replicate in range(self.replicates)]
        allowed = self.limit([float(results.of(peer)["own_error"]) for peer in peers])
        robust = sum(one["rise"] <= allowed for one in layers)
        critical = sum(one["rise"] > allowed and one["way"] >= self.critical for one in layers)
        parameters = sum(results.network_info(task).sizes.values())
        size = {"arm": row.arm, "width": sorted(self.widths)[row.level], "depth": depth, "parameters": parameters, "step": 0}
        whole = {
            "variant": WHOLE,
            "robust": robust,
            "critical": critical,
            "between": len(layers) - robust - critical,
            "share_critical": critical / len(layers),
            "gap": result.shown("train") - result.shown("test"),
        }
        shared = {name: layers[0][name] for name in ("own_error", "chance")}
        return [{**shared, **size, **whole}, *({**one, **size, "variant": one["arm"]} for one in layers)]

    def figures(self) -> Sequence[Figure]:
        counts = Panel("critical", "critical layers"), Panel("robust", "robust layers")
        titles = (
            "Critical and robust layers against the size of the network",
            "Rise of the error when a layer is put back to its initial values",
        )
        return (
            Figure("critical", titles[0], counts, x="parameters", variants=(WHOLE,), caption=self.caption),
            Figure("rise", titles[1], (self.rise,), x="parameters", variants=self._layers(), caption=self.caption),
        )

    @claim(
        "LAY-C5",
        "section 3.1",
        "The wider a fully connected network is, the more robust are its layers above the first; in a narrow one all layers matter.",
        note="Wide and narrow are the widest and the narrowest networks of the grid, averaged over depths.",
    )
    def width(self, table: Evidence) -> Iterable[Effect]:
        layers = table.table[table.table.variant != WHOLE]
        narrow, wide = (layers[layers.width == width] for width in (layers.width.min(), layers.width.max()))
        upper = [100 * rows[rows.variant != "hidden1"].groupby("replicate").rise.mean() for rows in (narrow, wide)]
        lacks = near_chance(narrow) or near_chance(wide)
        name = "rise with a layer above the first put back, in narrow networks more than in wide ones"
        yield table.effect(name, "pp", upper[0] - upper[1], least=table.resolution, lacks=lacks)
        allowed = {depth: self.limit_in(rows) for depth, rows in narrow.groupby("depth")}
        least = narrow.groupby(["depth", "replicate"]).rise.min()
        beyond = 100 * (least - least.index.get_level_values("depth").map(allowed)).groupby("replicate").mean()
        yield table.effect("least rise with a layer of a narrow network put back, above that of a robust one", "pp", beyond, lacks=lacks)

    @claim(
        "LAY-C9",
        "section 4",
        "The number of critical layers measures a network's complexity: it does not grow with the number of parameters, and it goes with "
        "the gap between training and test accuracy.",
        note="It is judged over the networks of the grid. To grow, or to go with, means a rank correlation of 0.5 or more.",
    )
    def complexity(self, table: Evidence) -> Iterable[Effect]:
        whole = table.only(variant=WHOLE).table
        lacks = near_chance(whole) or ("" if whole.critical.nunique() > 1 else "all networks have the same number of critical layers")
        for column, sign, name in (("parameters", -1, "number of parameters"), ("gap", 1, "gap of training and test accuracy")):
            rho = [sign * rank_correlation(own[column], own.critical) for _, own in whole.groupby("replicate")]
            said = f"{'-' * (sign < 0)}rank correlation of the number of critical layers with the {name}"
            yield table.effect(said, "rho", rho, least=sign * ALIKE, lacks=lacks)
