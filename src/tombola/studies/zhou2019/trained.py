"""Trained supermasks: masks that are learnt over weights that stay at their start (section 5)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.core.task import Count, Task
from tombola.pruning.pruning import Pruning
from tombola.studies import Details, Effect, Measurement, Results, Row, Run, Several, Share, Step, TombolaError, Values, dense_run, study
from tombola.studies.claims import claim
from tombola.studies.evidence import Evidence, aside, hardest
from tombola.studies.figure import Figure, Known, Panel
from tombola.studies.testbeds import network_of
from tombola.studies.zhou2019.common import ACC, VALUES
from tombola.studies.zhou2019.learning import ARMS, LEARNERS, Learner, MaskTraining

ACCURACIES: dict[str, tuple[float, ...]] = {
    "fc": (79.3, 86.3, 95.3, 96.4, 97.8, 98.0, 97.7),
    "conv2": (22.3, 37.4, 64.4, 66.3, 65.0, 66.0, 69.2),
    "conv4": (23.7, 39.7, 65.4, 66.2, 71.7, 72.5, 75.4),
    "conv6": (24.0, 41.0, 65.3, 65.4, 76.3, 76.5, 78.3),
}
"""Test accuracies in per cent of heuristic, learned and rescaled masks, each on initial values and signed constant, and of
trained weights (the paper's table; MNIST for `fc`, else CIFAR-10)."""
ENOUGH_EPOCHS, ENOUGH = 100, 5000
"""Epochs, or iterations, of training without which masks are far from settled, and not judged; the paper's train for 2,000 epochs."""


@study("zhou2019.trained", task="mnist1d-mlp", answers="How good does a network become if only its mask is trained?")
class Trained(MaskTraining):
    """Learnt masks on initial values and on signed constants, beside one-shot masks and trained weights."""

    scales = {
        "smoke": {"replicates": 2, "mask_steps": "60it", "looks": 3, "samples": 3},
        "paper": {"mask_steps": "2000ep", "looks": 11},
    }
    columns = ("paper", "acc", "expected_acc", "threshold_acc", "threshold_density", "sampled_spread", "chance_acc")
    arms = ARMS
    variants = VALUES

    learners: Several[Learner] = LEARNERS
    """The ways of learning a mask that are compared."""
    densities: dict[Learner, Share] = dict.fromkeys(LEARNERS, 0.5)
    """The shares of the weights that are kept: with `edge_popup` throughout, else at the start of training."""
    samples: Count = 10
    """How many masks are drawn at the end, over which the accuracy is averaged."""
    looks: Annotated[int, Field(ge=2, le=50)] = 10
    """The number of steps, evenly spaced from the first to the last, at which masks are looked at."""
    near: Annotated[float, Field(ge=0)] = 3.2
    """How far below trained weights a mask still counts as near, in pp: the paper's largest gap (Conv-2)."""

    def rows(self) -> Iterable[Row]:
        """The trained weights of each replicate, its one-shot masks and its learnt ones."""
        for field in ("densities", "mask_rates"):
            self.has_all(field, self.learners)
        for replicate in range(self.replicates):
            dense = dense_run(self, replicate)
            yield Row("trained", replicate, 0, dense, variant="init")
            yield from (Row("heuristic", replicate, 0, dense, variant=values, measurement=self._one_shot(dense)) for values in VALUES)
            for arm in self.learners:
                for values in VALUES:
                    run = self.learning(arm, self.densities[arm], values, replicate)
                    yield Row(arm, replicate, 0, run, variant=values, measurement=self._look(run))

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[Step, ...]]:
        return {row.run: tuple(self.steps()) for row in rows if row.arm in self.learners}

    def steps(self) -> list[Step]:
        """The steps at which masks are looked at; the last is the end."""
        shares = np.linspace(0, 1, self.looks)[1:-1]
        try:
            return [Step("0it"), *dict.fromkeys(self.mask_steps.times(float(share)) for share in shares), Step("end")]
        except TombolaError:
            remedy = "choose another number, such as 11 for 10 equal parts, or write mask_steps in iterations"
            raise TombolaError(f"looks = {self.looks}: not all fall on whole epochs of mask_steps = {self.mask_steps}; {remedy}") from None

    def _look(self, run: Run) -> Measurement:
        spec = run.task.recipe.supermask
        assert spec is not None
        options = {"supermask": spec.model_dump(), "samples": self.samples}
        plain = run.task.but(recipe=run.task.recipe.but(supermask=None))
        looks = tuple(run.at(step) for step in self.steps())
        return Measurement(task=plain, seed=run.seed, name="learnt_supermask", of=looks, options=options)

    def _one_shot(self, dense: Run) -> Measurement:
        options = Pruning(criterion="large_final_same_sign").options(self.task) | {"rounds": 24}
        ends = dense.at("0it"), dense.at("end")
        return Measurement(task=dense.task, seed=dense.seed, name="heuristic_supermasks", of=ends, options=options)

    def measure(self, row: Row, results: Results) -> Values:
        """The columns of one mask, or of the trained network."""
        values: Values = {"paper": in_paper(self.task, row.arm, row.variant)}
        if row.measurement is None:
            return {**values, "acc": results[row.run].shown("test")}
        found, objective = results.of(row), self.task.objective
        column = objective.columns[1]
        values["chance_acc"] = float(objective.headline_of(found["test_chance"]))
        if row.arm == "heuristic":
            at = 1 + int(np.argmin(objective.headline_of(found[f"{row.variant}_validation_{column}"][1:])))
            return {**values, "acc": float(found[f"{row.variant}_{column}"][at]), "density": float(found["density"][at])}
        return {
            **values,
            "density": float(found["density"][-1]),
            "acc": float(np.mean(found[f"sampled_{column}"])),
            "expected_acc": float(found[f"expected_{column}"][-1]),
            "threshold_acc": float(found[f"threshold_{column}"][-1]),
            "threshold_density": float(found["threshold_density"][-1]),
            "sampled_spread": float(np.std(found[f"sampled_{column}"])),
        }

    def details(self, results: Results) -> Details:
        """The table of the paper, and what was seen on the way."""
        table: list[Values] = []
        ways: dict[str, list[Values]] = {"accuracy": [], "density": []}
        for row in self.rows():
            values = self.measure(row, results)
            cell = {"row": ARMS[row.arm], "column": VALUES[row.variant], "acc": values["acc"], "paper": values["paper"]}
            table.append({"replicate": row.replicate, **cell})
            if row.measurement is None or row.arm == "heuristic":
                continue
            found, epoch, end = results.of(row), results.network_info(row.run.task).steps_per_epoch, results[row.run].end
            for name, column in (("accuracy", f"expected_{self.task.objective.columns[1]}"), ("density", "density")):
                for step, value in zip(self.steps(), found[column], strict=True):
                    ways[name].append(results.where(row, density=1.0, x=step.iterations(epoch, end), value=float(value)))
        return {"masks": table, **ways}

    def figures(self) -> Sequence[Figure]:
        known = tuple(
            Known(found, cell=(label, VALUES[values]))
            for arm, label in ARMS.items()
            for values in VALUES
            if not np.isnan(found := in_paper(self.task, arm, values))
        )
        accuracy, density = replace(ACC, metric="value"), Panel("value", "weights kept (%)", 100)
        title, across = "Accuracy of masks without trained weights", replace(density, metric="density")
        drawn = (
            f"Of a learnt mask the mean of {self.samples} drawn ones is shown, of one-shot masks the density that does best in validation."
        )
        mean, share = (
            "The network has its expected weights w E[b] r.",
            "Density is the share of the weights that a drawn mask keeps on average.",
        )
        return (
            Figure(
                "trained", title, (replace(ACC, paper=known),), "heatmap", detail="masks", x_label="weights under the mask", caption=drawn
            ),
            Figure("density", "Accuracy against density", (ACC,), "scatter", across=across, variants=tuple(VALUES)),
            Figure("curves", "Learning a mask: accuracy", (accuracy,), "profile", x_label="iterations", detail="accuracy", caption=mean),
            Figure("densities", "Learning a mask: density", (density,), "profile", x_label="iterations", detail="density", caption=share),
        )

    # -- claims ------------------------------------------------------------------------------------------------------

    @claim(
        "ZHOU-C7",
        "section 5, table of supermasks",
        "Learnt masks beat one-shot masks; a signed constant is no worse than initial values; rescaling helps, and on a signed constant "
        "comes near to trained weights.",
        note="A part is judged where it is hardest: on initial values or on signed constants, of learned or of rescaled masks. One-shot "
        "masks at the density that does best on validation examples. The paper names no margins: near is within its own largest gap.",
    )
    def learnt_masks_are_good(self, table: Evidence) -> Iterable[Effect]:
        rows, lacks = table.table, self._unsettled()
        where = [f"{ARMS[arm]}, {VALUES[values]}" for arm, values in zip(rows.arm, rows.variant, strict=True)]
        table = Evidence(self, rows.assign(arm=where, variant=""))
        one_shot, learned, rescaled, edge_popup, signed, weights = (
            [f"{label}, {values}" for values in VALUES.values()] for label in ARMS.values()
        )
        yield from hardest(table.above(*pair, ACC, [0], lacks=lacks) for pair in zip(learned, one_shot, strict=True))
        yield from hardest(table.within(constant, init, ACC, [0], lacks=lacks) for init, constant in (learned, rescaled))
        yield from hardest(table.above(*pair, ACC, [0], lacks=lacks) for pair in zip(rescaled, learned, strict=True))
        yield table.within(rescaled[1], weights[0], ACC, [0], allowed=self.near, lacks=lacks)
        yield aside(table.above(edge_popup[1], learned[1], ACC, [0]))
        yield aside(table.above(signed[1], rescaled[1], ACC, [0]))

    def _unsettled(self) -> str:
        """Why masks that trained so shortly are not judged; "" if they trained long enough."""
        epochs, iterations = self.mask_steps.order
        settled = epochs >= ENOUGH_EPOCHS or iterations >= ENOUGH
        return "" if settled else f"masks of {self.mask_steps} are far from settled: train them for {ENOUGH}it or {ENOUGH_EPOCHS}ep"


def in_paper(task: Task, arm: str, values: str) -> float:
    """The paper's accuracy, a share; NaN where it has none."""
    order = [*((one, of) for one in ("heuristic", "learned", "rescaled") for of in VALUES), ("trained", "init")]
    network = network_of(task)
    return ACCURACIES[network][order.index((arm, values))] / 100 if network and (arm, values) in order else float("nan")
