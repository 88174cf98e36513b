"""Training with chosen layers left at their random initial values (section 4)."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from tombola.models.groups import Unit
from tombola.studies import Effect, Evidence, Figure, Panel, Row, Values, aside, claim, dense_run, study
from tombola.studies.results import Column, Details, Frame, Results
from tombola.studies.zhang2019 import common

_ACC = Panel("acc", "test accuracy (%)", 100)


@study("zhang2019.frozen", task="fcn-digits", answers="What does it cost to leave layers at their random initial values?")
class Frozen(common.Classes):
    """Networks some of whose layers are never trained: each of them, all robust ones, all others, and all but the last."""

    scales = {"smoke": {"replicates": 2}}
    columns = ("kept", "prunable", "frozen", "trained_parameters", "share_trained", "acc", "train_acc", "second_rise", "chance_acc")
    arms = {
        "none": "nothing",
        "alone": "one layer",
        "robust": "all robust layers",
        "critical": "all others but the last",
        "hidden": "all but the last",
    }

    unit: Unit = "layer"
    """What is frozen together: `layer`, `block`, `stage`."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Percentage points of accuracy that count as no difference. None: 0.2 with 10,000 test examples, else 1."""

    def rows(self) -> Iterable[Row]:
        return [self._row("none", replicate) for replicate in range(self.replicates)]

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        """The networks that are trained once the dense ones have said which layers are robust."""
        robust = self.robust_units(results, self.rows(), self.unit)
        body = common.units_of(results, self.task, self.unit)[:-1]
        sets = {"robust": [one for one in body if one in robust], "critical": [one for one in body if one not in robust], "hidden": body}
        chosen = [*(("alone", name, [name]) for name in body), *((arm, arm, names) for arm, names in sets.items() if names)]
        for arm, label, names in chosen:
            layers = common.layers_of(results, self.task, self.unit, names)
            yield from (self._row(arm, replicate, label, layers) for replicate in range(self.replicates))

    def _row(self, arm: str, replicate: int, label: str = "", frozen: tuple[str, ...] = ()) -> Row:
        """A network that is trained with layers frozen, and then its layers put back."""
        run = dense_run(self, replicate, self.task.but(recipe=self.task.recipe.but(frozen=frozen)) if frozen else None)
        return Row(arm, replicate, 0, run, variant=label, measurement=self.reset(run, unit=self.unit))

    def measure(self, row: Row, results: Results) -> Values:
        result, found = results[row.run], results.of(row)
        network = results.network_info(row.run.task)
        trained = sum(size for path, size in network.sizes.items() if path in network.trained)
        return {
            "frozen": " ".join(row.run.task.recipe.frozen),
            "trained_parameters": trained,
            "share_trained": trained / sum(network.sizes.values()),
            "acc": result.shown("test"),
            "train_acc": result.shown("train"),
            "second_rise": float(found["error"][1, 0] - found["own_error"]) if len(found["error"]) > 1 else float("nan"),
            "chance_acc": float(row.run.task.objective.headline_of(found["chance"])),
        }

    def details(self, results: Results) -> Details:
        """Accuracy by what is frozen, as one column of a map."""
        table = self.frame([*self.rows(), *self.more((), results)], results)
        label = table.variant.where(table.arm == "alone", table.arm.map(self.arms))
        return {"frozen": table.assign(row=label, column=" ")[["replicate", "row", "column", "acc", "share_trained"]]}

    def figures(self) -> Sequence[Figure]:
        title, trained = "Accuracy with layers left at their initial values", Panel("share_trained", "parameters trained (%)", 100)
        said = "Layers are classed by resetting them in the network that is trained whole."
        return (self.heat_map("frozen", title, _ACC, trained, across="frozen", said=said),)

    @claim(
        "LAY-C8b",
        "section 4, and a replication on MNIST",
        "A network learns as well with all its robust layers left at their random initial values; if the first layer of a fully connected "
        "network is left there, the second becomes critical.",
    )
    def robust_layers_may_stay(self, table: Evidence) -> Iterable[Effect]:
        lacks = "" if "robust" in set(table.table.arm) else "no layer but the last is robust"
        name = f"accuracy with all robust layers frozen less than {table.margin:g} pp below that with none"
        note = "the replication: 97.74 against 98.56 %"
        yield table.within("robust", "none", _ACC, [0], name=name, lacks=lacks, note=note)
        whole, alone = table.only(arm="none").table, table.only(arm="alone").table
        first = alone[alone.variant == next(iter(alone.variant), "")]
        before, after = self._way(whole), self._way(first)
        lacks = common.fully_connected(self) or ("the second layer is critical as it is" if before.mean() >= self.critical else "")
        lacks = lacks or common.near_chance(first.assign(own_error=1 - first.acc, chance=1 - first.chance_acc))
        name = "way to chance of the second layer with the first frozen"
        yield table.effect(name, "%", 100 * after, least=100 * self.critical, lacks=lacks)
        shift = 100 * (first.set_index("replicate").second_rise - whole.set_index("replicate").second_rise)
        yield aside(table.effect("rise of the second layer with the first frozen, above that with nothing frozen", "pp", shift))
        name = "accuracy with all robust layers frozen, above that with all others but the last"
        yield aside(table.above("robust", "critical", _ACC, [0], name=name), "the replication: 97.74 against 97.51 %")

    def _way(self, rows: Frame) -> Column:
        """The second layer's share of the way to chance, by replicate."""
        own = rows.set_index("replicate")
        return own.second_rise / (own["train_acc" if self.part == "train" else "acc"] - own.chance_acc)
