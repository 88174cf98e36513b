"""Trained supermasks: masks that are learnt over weights that stay at their start (section 5)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Count, Supermask, Task
from tombola.evaluation.paired import effect_of
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.mask_training import RATES, mask_recipe
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Action, Run
from tombola.pruning.pruning import Pruning
from tombola.studies.base import Cell, Config, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.dense import dense_run
from tombola.studies.tickets import Positive, Share, distinct, margin

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("paper", "acc", "expected_acc", "threshold_acc", "threshold_density", "sampled_spread", "chance_acc")
Learner = Literal["learned", "rescaled", "edge_popup", "signed"]
LEARNERS: tuple[Learner, ...] = get_args(Learner)
ARMS = {
    "heuristic": "large final same sign, one shot",
    "learned": "learned mask",
    "rescaled": "learned mask, rescaled",
    "edge_popup": "edge-popup",
    "signed": "signed supermask",
    "trained": "trained weights",
}
MASK_RATES: dict[Learner, float] = {
    "learned": RATES["bernoulli"],
    "rescaled": RATES["bernoulli"],
    "edge_popup": RATES["edge_popup"],
    "signed": RATES["signed"],
}
VALUES = {"init": "initial values", "constant": "signed constant"}
"""Variant -> what the weights under the mask are."""
PAPER: dict[str, tuple[float, ...]] = {
    "fc": (79.3, 86.3, 95.3, 96.4, 97.8, 98.0, 97.7),
    "conv2": (22.3, 37.4, 64.4, 66.3, 65.0, 66.0, 69.2),
    "conv4": (23.7, 39.7, 65.4, 66.2, 71.7, 72.5, 75.4),
    "conv6": (24.0, 41.0, 65.3, 65.4, 76.3, 76.5, 78.3),
}
"""Test accuracies in per cent of heuristic, learned and rescaled masks, each on initial values and signed constant, and of
trained weights (the paper's table; MNIST for `fc`, else CIFAR-10)."""


class Trained(Config):
    """How masks are learnt, by momentum on their scores."""

    learners: Annotated[tuple[Learner, ...], Field(min_length=1)] = LEARNERS
    densities: dict[Learner, Share] = {"learned": 0.5, "rescaled": 0.5, "edge_popup": 0.5, "signed": 0.5}
    """The share of the weights that is kept: at the start of training, and of `edge_popup` all along."""
    mask_rates: dict[Learner, Positive] = MASK_RATES
    """Learning rates: constant ones, but of `edge_popup` the first of a cosine."""
    mask_steps: Step = Step("5000it")
    """Length of the training of masks."""
    mask_batch: Count = 250
    samples: Count = 10
    """Masks drawn at the end, over which the accuracy is averaged."""
    looks: Annotated[int, Field(ge=2, le=50)] = 10
    """Steps, evenly spaced from the first to the last, at which masks are looked at."""
    near: Annotated[float, Field(ge=0)] = 3.0
    """How far below trained weights, in pp, a mask still counts as near: the paper's largest gap is 3.2 pp (Conv-2)."""


def _configure(scale: Scale, task: str) -> Trained:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "mask_steps": "60it", "looks": 3, "samples": 3},
        "small": {},
        "paper": {"mask_steps": "2000ep", "looks": 11},
    }
    return Trained(task=named_task(task, scale), **by_scale[scale])


@study(
    "zhou2019.trained",
    answers="How good does a network become if only its mask is trained?",
    claims=("ZHOU-C7",),
    task="mnist1d-mlp",
    configure=_configure,
)
def trained(config: Trained) -> Study:
    """Learnt masks on initial values and on signed constants, beside one-shot masks and trained weights."""
    distinct("learners", config.learners)
    for field in ("densities", "mask_rates"):
        if missing := [name for name in config.learners if name not in getattr(config, field)]:
            raise TombolaError(f"{field}: {missing[0]!r} has none; give a number for each of {', '.join(config.learners)}")
    cells, keep = [], {}
    for replicate in range(config.replicates):
        dense = dense_run(config, replicate)
        cells.append(Cell("trained", replicate, 0, dense, variant="init"))
        cells += [Cell("heuristic", replicate, 0, dense, variant=values, measurement=_one_shot(config, dense)) for values in VALUES]
        for arm in config.learners:
            for values in VALUES:
                run = learning(config, arm, values, replicate)
                keep[run] = tuple(steps(config))
                cells.append(Cell(arm, replicate, 0, run, variant=values, measurement=_look(config, run)))
    known = network_of(config.task) is not None
    accuracy = Panel("acc", "test accuracy (%)", 100)
    return Study(
        name="zhou2019.trained",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms={arm: label for arm, label in ARMS.items() if arm not in LEARNERS or arm in config.learners},
        variants=VALUES,
        keep=keep,
        details=partial(details, config),
        figures=(
            Figure(
                "trained",
                "Accuracy of masks without trained weights",
                (accuracy, *((Panel("paper", "Zhou et al. 2019 (%)", 100),) if known else ())),
                kind="heatmap",
                detail="masks",
                x_label="weights under the mask",
                caption=f"Learnt masks: the mean of {config.samples} drawn ones. One-shot masks: at the density that does best on "
                "validation examples.",
            ),
            Figure(
                "density",
                "Accuracy against density",
                (accuracy,),
                kind="scatter",
                across=Panel("density", "weights kept (%)", 100),
                caption="One point a replicate.",
            ),
            Figure(
                "curves",
                "Learning a mask: accuracy",
                (Panel("value", "test accuracy (%)", 100),),
                kind="profile",
                detail="accuracy",
                x_label="iterations",
                caption="Of the network with expected weights w E[b] r.",
            ),
            Figure(
                "densities",
                "Learning a mask: density",
                (Panel("value", "weights kept (%)", 100),),
                kind="profile",
                detail="density",
                x_label="iterations",
                caption="The share of the weights that a drawn mask keeps on average.",
            ),
        ),
    )


def masked(config: Trained, arm: Learner) -> Task:
    """The task with a recipe that learns a mask."""
    density = config.densities[arm]
    spec = {
        "learned": Supermask(density=density),
        "rescaled": Supermask(density=density, rescale="dynamic"),
        "edge_popup": Supermask(method="edge_popup", density=density, rescale="root"),
        "signed": Supermask(method="signed", density=density, rescale="dynamic"),
    }[arm]
    every = config.mask_steps.times(0.1)
    recipe = mask_recipe(config.task.recipe, spec, config.mask_rates[arm], config.mask_steps, config.mask_batch)
    return config.task.but(recipe=recipe.but(evaluate_every=every, test_every=every))


def learning(config: Trained, arm: Learner, values: str, replicate: int) -> Run:
    """The run that learns a mask."""
    kept = Action(name="signed_constant", options={"keep_sign": True}) if values == "constant" else None
    return dense_run(config, replicate, masked(config, arm)).but(kept=kept)


def steps(config: Trained) -> list[Step]:
    """Those at which masks are looked at; the last is the end."""
    shares = np.linspace(0, 1, config.looks)[1:-1]
    try:
        return [Step("0it"), *dict.fromkeys(config.mask_steps.times(float(share)) for share in shares), Step("end")]
    except TombolaError:
        remedy = "choose another number, such as 11 for 10 equal parts, or write mask_steps in iterations"
        raise TombolaError(f"looks = {config.looks}: not all fall on whole epochs of mask_steps = {config.mask_steps}; {remedy}") from None


def _look(config: Trained, run: Run) -> Measurement:
    spec = run.task.recipe.supermask
    assert spec is not None
    options = {"supermask": spec.model_dump(), "samples": config.samples}
    plain = run.task.but(recipe=run.task.recipe.but(supermask=None))
    looks = tuple(run.at(step) for step in steps(config))
    return Measurement(task=plain, seed=run.seed, name="learnt_supermask", of=looks, options=options)


def _one_shot(config: Trained, dense: Run) -> Measurement:
    options = Pruning(criterion="large_final_same_sign").options(config.task) | {"rounds": 24}
    ends = dense.at("0it"), dense.at("end")
    return Measurement(task=dense.task, seed=dense.seed, name="heuristic_supermasks", of=ends, options=options)


def network_of(task: Task) -> str | None:
    """The column of the paper's table that a task is, if any."""
    if task.data.name == "mnist" and task.model.name == "mlp" and list(task.model.options.get("widths", (300, 100))) == [300, 100]:
        return "fc"
    return task.model.name if task.data.name == "cifar10" and task.model.name in PAPER and not task.model.options else None


def paper(task: Task, arm: str, values: str) -> float:
    """The paper's accuracy, a share; NaN where it has none."""
    order = [*((one, of) for one in ("heuristic", "learned", "rescaled") for of in VALUES), ("trained", "init")]
    network = network_of(task)
    return PAPER[network][order.index((arm, values))] / 100 if network and (arm, values) in order else float("nan")


def measure(config: Trained, cell: Cell, results: Results) -> Row:
    """The columns of one mask, or of the trained network."""
    row: Row = dict.fromkeys(METRICS, float("nan"))
    row["paper"] = paper(config.task, cell.arm, cell.variant)
    if cell.measurement is None:
        return {**row, "acc": results[cell.run].shown("test")}
    found, column = results.measured(cell.measurement), config.task.objective.columns[1]
    row["chance_acc"] = float(cell.run.task.objective.headline_of(found["test_chance"]))
    if cell.arm == "heuristic":
        at = 1 + int(np.argmin(config.task.objective.headline_of(found[f"{cell.variant}_validation_{column}"][1:])))
        return {**row, "acc": float(found[f"{cell.variant}_{column}"][at]), "density": float(found["density"][at])}
    return {
        **row,
        "density": float(found["density"][-1]),
        "acc": float(np.mean(found[f"sampled_{column}"])),
        "expected_acc": float(found[f"expected_{column}"][-1]),
        "threshold_acc": float(found[f"threshold_{column}"][-1]),
        "threshold_density": float(found["threshold_density"][-1]),
        "sampled_spread": float(np.std(found[f"sampled_{column}"])),
    }


def details(config: Trained, results: Results) -> "dict[str, pd.DataFrame]":
    """The table of the paper, and what was seen on the way."""
    import pandas as pd

    table: list[Row] = []
    ways: dict[str, list[Row]] = {"accuracy": [], "density": []}
    for cell in trained(config).cells:
        at = {"variant": "", "arm": "", "level": 0, "density": 1.0, "replicate": cell.replicate}
        table.append({**at, "row": ARMS[cell.arm], "column": VALUES[cell.variant], **_shown(config, cell, results)})
        if cell.measurement is None or cell.arm == "heuristic":
            continue
        found, network_info = results.measured(cell.measurement), results.network_info(cell.run.task)
        end = results[cell.run].end
        for name, column in (("accuracy", f"expected_{config.task.objective.columns[1]}"), ("density", "density")):
            for step, value in zip(steps(config), found[column], strict=True):
                x = step.iterations(network_info.steps_per_epoch, end)
                ways[name].append({**at, "variant": cell.variant, "arm": cell.arm, "x": x, "value": float(value)})
    return {"masks": pd.DataFrame(table), **{name: pd.DataFrame(rows) for name, rows in ways.items()}}


def _shown(config: Trained, cell: Cell, results: Results) -> Row:
    row = measure(config, cell, results)
    return {name: row[name] for name in ("acc", "paper")}


def claims(config: Trained, table: "pd.DataFrame") -> list[Verdict]:
    """ZHOU-C7 on the table of the study."""
    acc = {(str(arm), str(values)): 100 * rows.groupby("replicate").acc.mean() for (arm, values), rows in table.groupby(["arm", "variant"])}
    allowed = margin(config.task)

    def effect(name: str, better: tuple[str, str], worse: tuple[str, str], plus: float = 0.0, decides: bool = True) -> Effect:
        there = better in acc and worse in acc
        note = f"{acc[better].mean():.1f} % and {acc[worse].mean():.1f} %" if there else "not among the learners"
        return effect_of(name, "pp", list(acc[better] - acc[worse] + plus) if there else [], decides=decides, note=note)

    init, constant = (lambda arm: (arm, "init")), (lambda arm: (arm, "constant"))
    effects = (
        effect("learned above one-shot masks, initial values, by", init("learned"), init("heuristic")),
        effect("learned above one-shot masks, signed constant, by", constant("learned"), constant("heuristic")),
        effect("rescaled above learned, initial values, by", init("rescaled"), init("learned")),
        effect("rescaled above learned, signed constant, by", constant("rescaled"), constant("learned")),
        effect(
            f"learned: signed constant less than {allowed:g} pp below initial values, by", constant("learned"), init("learned"), allowed
        ),
        effect(
            f"rescaled: signed constant less than {allowed:g} pp below initial values, by", constant("rescaled"), init("rescaled"), allowed
        ),
        effect(
            f"rescaled on a signed constant less than {config.near:g} pp below trained weights, by",
            constant("rescaled"),
            init("trained"),
            config.near,
        ),
        effect("edge-popup above learned, signed constant, by", constant("edge_popup"), constant("learned"), decides=False),
        effect("signed supermask above rescaled, signed constant, by", constant("signed"), constant("rescaled"), decides=False),
    )
    sentence = (
        "Learnt masks beat one-shot masks; a signed constant is no worse than initial values; rescaling helps, to near trained weights."
    )
    return [Verdict("ZHOU-C7", sentence, "Zhou et al. 2019, section 5, table of supermasks", effects)]
