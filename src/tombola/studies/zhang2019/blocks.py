"""Residual blocks, shortcuts and stages as units: robust to re-initialisation, and to re-randomisation (section 3.3)."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from tombola.models.groups import UNITS, Unit, groups
from tombola.studies import Details, Effect, Evidence, Figure, Results, Row, Several, Values, aside, claim, dense_run, study
from tombola.studies.claims import about
from tombola.studies.zhang2019 import common

RESIDUAL = ("resnet", "deep_resnet")


of_deep_networks = about("VGG and residual networks", "vgg", *RESIDUAL)
"""Why the sentence is not about a study's network."""


@study(
    "zhang2019.blocks",
    task="resnet20-cifar10",
    answers="Which blocks and stages of a residual network can be put back, or drawn anew?",
)
class Blocks(common.Classes):
    """Every layer, block and stage, put back to its initial values and drawn anew."""

    scales = {"smoke": {"replicates": 2, "draws": 2}}
    columns = ("kept", "prunable", "stage", "kind", "error", "rise", "way", "random_error", "random_rise", "rms", "own_error", "chance")
    """`random_...`: of fresh draws, averaged; the other errors are those at the initial values."""
    variants = {unit: f"{unit}s" for unit in UNITS}

    units: Several[Unit] = UNITS
    """What is put back together."""
    draws: Annotated[int, Field(ge=1, le=1000)] = 10
    """Fresh draws of each unit."""

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            run = dense_run(self, replicate)
            for unit in self.units:
                yield Row("dense", replicate, 0, run, variant=unit, measurement=self.reset(run, unit=unit, draws=self.draws))

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each unit of one size."""
        named = groups(results.network_info(self.task).layers, row.variant)  # type: ignore[arg-type]
        errors, rows = results.of(row)["error"], list[Values]()
        for values, (name, layers), error in zip(self.reset_values(row, results, list(named)), named.items(), errors, strict=True):
            drawn, kind = float(error[1:].mean()), layers[0].kind if len(layers) == 1 else row.variant
            place = {"stage": name.split("/")[0], "kind": kind}
            rows.append({**values, **place, "random_error": drawn, "random_rise": drawn - values["own_error"]})
        return rows

    def details(self, results: Results) -> Details:
        """Errors by unit, at the initial values and drawn anew."""
        table, frames = self.frame(self.rows(), results), []
        for unit in self.units:
            own = table[table.variant == unit]
            marks = own.arm.map(self.classes(own))
            for column, metric in (("initial", "error"), ("random", "random_error")):
                at = {"row": own.arm, "column": column, "error": own[metric], "mark": marks}
                frames.append(own[["variant", "replicate"]].assign(**at))
        return {"units": frames}

    def figures(self) -> Sequence[Figure]:
        title = "Error when one unit is put back to its initial values, or drawn anew"
        return (self.heat_map("units", title, self.error, across="what stands in its place"),)

    @claim(
        "LAY-C6",
        "section 3, figures 3 to 6",
        "VGG is like a fully connected network: its first layer is critical, its last ones are robust. Residual networks spread their "
        "critical layers over stages, and those of their blocks that are robust to re-initialisation are robust to fresh draws.",
        about=of_deep_networks,
        note="A network bears one half of the sentence; run the study on the other kind of network for the other half.",
    )
    def as_deep_networks_are(self, table: Evidence) -> Iterable[Effect]:
        weak, residual = common.near_chance(table.table), self.task.model.name in RESIDUAL
        yield from self._chain(table, "said of VGG" if residual else weak)
        yield from self._residual(table, weak if residual else "said of residual networks")

    def _chain(self, table: Evidence, lacks: str) -> Iterable[Effect]:
        rise, way = (100 * common.by_layer(table.table, metric, "layer") for metric in ("rise", "way"))
        third, allowed = max(1, rise.shape[1] // 3), 100 * self.limit_in(table.table)
        lacks = lacks or ("" if rise.shape[1] > 2 else "the network has fewer than three layers")
        first, least = way.iloc[:, :1].mean(axis=1), 100 * self.critical
        yield table.effect("way to chance with the first layer put back", "%", first, least=least, lacks=lacks)
        name = f"largest rise with a layer of the highest third put back, below the {allowed:.2g} pp of a robust one"
        yield table.effect(name, "pp", allowed - rise.iloc[:, -third:].max(axis=1), lacks=lacks or self.no_room(table.table))
        name = "rise with a layer of the lowest third put back, above that with one of the highest third"
        yield aside(table.effect(name, "pp", rise.iloc[:, :third].mean(axis=1) - rise.iloc[:, -third:].mean(axis=1)))

    def _residual(self, table: Evidence, lacks: str) -> Iterable[Effect]:
        layers, blocks = (table.only(variant=unit).table for unit in ("layer", "block"))
        inside = layers[layers.stage.str.startswith("stage")]
        most = 100 * inside.groupby(["replicate", "stage"]).way.max().unstack("stage")
        second = most.apply(lambda own: own.nlargest(2).iloc[-1], axis=1) if most.shape[1] > 1 else []
        one = "" if most.shape[1] > 1 else "the network has fewer than two stages"
        name = "way to chance of the most critical layer of the second most critical stage"
        note = "spread over stages: at least two hold a critical layer"
        yield table.effect(name, "%", second, least=100 * self.critical, lacks=lacks or one, note=note)
        robust = [block for block in self.robust_in(blocks) if block not in set(layers.arm)] if len(blocks) else []
        drawn = blocks[blocks.arm.isin(robust)].groupby("replicate").random_rise.max()
        allowed = 100 * self.limit_in(table.table)
        none = "" if robust else "no block is robust to re-initialisation"
        name = f"largest rise with a robust block drawn anew, below the {allowed:.2g} pp of a robust one"
        yield table.effect(name, "pp", allowed - 100 * drawn, lacks=lacks or none or self.no_room(table.table))
