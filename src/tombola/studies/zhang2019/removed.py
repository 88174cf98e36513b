"""Why leave ambient layers in? Layers or blocks taken out, against frozen, against trained (section 4)."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from tombola.models.groups import Unit
from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, Study, TombolaError, Values, claim, dense_run, study
from tombola.studies.zhang2019 import common

TOGETHER = "all robust"
FEW = 2_000
"""CIFAR-10 with no more training images than these counts as hard, in the place of ImageNet; so does CIFAR-100."""
_ACC = Panel("acc", "test accuracy (%)", 100)


def hard(study: Study) -> bool:
    """Whether the data are hard for the network, as ImageNet is in the paper."""
    data = study.task.data
    return data.name.startswith(("imagenet", "cifar100")) or (data.train or FEW + 1) <= FEW


def of_images(study: Study) -> str:
    """Why the sentence is not about the data of a study."""
    known = study.task.data.name.startswith(("cifar", "imagenet"))
    return "" if known else f"the sentence is about CIFAR-10 and ImageNet, not about {study.task.data.name}"


@study(
    "zhang2019.removed",
    task="fcn-digits",
    answers="Why does it matter if ambient layers are left in? Can architectures be cheaper for it?",
)
class Removed(common.Robust):
    """Parts of a network that are trained, left at their initial values, or taken out before training, at equal width."""

    scales = {"smoke": {"replicates": 2}}
    columns = ("kept", "prunable", "parameters", "trained_parameters", "acc", "train_acc", "loss", "operations")
    arms = {"trained": "whole, trained", "frozen": "left at its initial values", "removed": "taken out"}

    unit: Unit = "block"
    """What is taken out, `layer` or `block` (in a network without blocks: its layers), where it gives as many numbers as it takes."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Percentage points of accuracy that count as no difference. None: 0.2 with 10,000 test examples, else 1."""

    @model_validator(mode="after")
    def _takes_out_what_can_be(self) -> Self:
        if self.unit == "stage":
            raise TombolaError("unit = 'stage', but a stage does not give back what it takes; choose layer or block")
        return self

    def rows(self) -> Iterable[Row]:
        """Networks that are trained whole, and their layers put back."""
        runs = [dense_run(self, replicate) for replicate in range(self.replicates)]
        return [Row("trained", replicate, 0, run, measurement=self.reset(run, unit=self.unit)) for replicate, run in enumerate(runs)]

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        """Networks with parts frozen or taken out: each part that can be, and all of those together that are robust."""
        robust, units = self.robust_units(results, self.rows(), self.unit), common.units_of(results, self.task, self.unit)
        able = [name for name in results.setup(self.task).removable if name in units]
        together = tuple(name for name in able if name in robust)
        for label, names in {**{name: (name,) for name in able}, **({TOGETHER: together} if len(together) > 1 else {})}.items():
            layers = common.layers_of(results, self.task, self.unit, names)
            frozen = self.task.but(recipe=self.task.recipe.but(frozen=layers))
            for arm, task in (("frozen", frozen), ("removed", self.task.but(model=self.task.model.but(without=names)))):
                for replicate in range(self.replicates):
                    yield Row(arm, replicate, 0, dense_run(self, replicate, task), variant=label)

    def measure(self, row: Row, results: Results) -> Values:
        from tombola.training.cost import step_operations

        result, network = results[row.run], results.network_info(row.run.task)
        acc = result.shown("test")
        return {
            "parameters": sum(network.sizes.values()),
            "trained_parameters": sum(size for path, size in network.sizes.items() if path in network.trained),
            "acc": acc,
            "train_acc": result.shown("train"),
            "loss": self.task.objective.better_is * (results[dense_run(self, row.replicate)].shown("test") - acc),
            "operations": step_operations(results.setup(row.run.task)),
        }

    def details(self, results: Results) -> Details:
        """Accuracy, parameters and arithmetic by part and by what became of it."""
        import pandas as pd

        whole, rows = list(self.rows()), []
        for row in self.more(whole, results):
            for arm, shown in (("trained", whole[row.replicate]), (row.arm, row)):
                rows.append({"replicate": row.replicate, "row": row.variant, "column": arm, **self.measure(shown, results)})
        columns = ("replicate", "row", "column", "acc", "trained_parameters", "operations")
        return {"removed": pd.DataFrame(rows, columns=columns).drop_duplicates(["replicate", "row", "column"])}

    def figures(self) -> Sequence[Figure]:
        trained = Panel("trained_parameters", "parameters trained (thousands)", 1e-3)
        operations = Panel("operations", "operations of a training step (millions)", 1e-6)
        said = (
            "All networks begin from the same initial values, except for what is taken out. Operations are the floating-point ones of a "
            "batch's gradients. Parts are classed by resetting them in the network that is trained whole."
        )
        title = "Accuracy, parameters and arithmetic with parts frozen, or taken out"
        return (self.heat_map("removed", title, _ACC, trained, operations, across="the part is", said=said),)

    @claim(
        "LAY-C8a",
        "section 4",
        "On CIFAR-10 a network learns about as well with a part taken out as with it left at its random initial values; on ImageNet it "
        "learns clearly worse.",
        about=of_images,
    )
    def taken_out_or_frozen(self, table: Evidence) -> Iterable[Effect]:
        single = Evidence(self, table.table[table.table.variant != TOGETHER])
        none = "" if "removed" in set(single.table.arm) else "no part gives back what it takes"
        easy, harder = ("said of CIFAR-10", "") if hard(self) else ("", "said of ImageNet, or of other data that are hard")
        yield single.within("removed", "frozen", _ACC, [0], lacks=easy or none)
        yield single.within("frozen", "removed", _ACC, [0], lacks=easy or none)
        yield single.above("frozen", "removed", _ACC, [0], least=table.margin, lacks=harder or none)

    @claim("LAY-O1", "a question that it leaves open", "A network learns as well without all its robust parts, with fewer parameters.")
    def cheaper(self, table: Evidence) -> Iterable[Effect]:
        together = Evidence(self, table.table[table.table.variant.isin(("", TOGETHER))])
        lacks = "" if TOGETHER in set(table.table.variant) else "fewer than two parts that can be taken out are robust"
        name = f"accuracy with all robust parts taken out less than {table.margin:g} pp below that of the whole network"
        yield together.within("removed", "trained", _ACC, [0], name=name, lacks=lacks, note="that it has fewer parameters needs no test")
