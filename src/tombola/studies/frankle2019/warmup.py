"""Deep networks: learning rate, warm-up, and global against layer-wise pruning (section 4, figures 7 and 8)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tombola.core.step import Step
from tombola.core.task import Task
from tombola.evaluation.paired import by_replicate, difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Scale, Study, study
from tombola.studies.frankle2019.common import ACC_ES, ACC_FINAL, METRICS, SOURCE, Pruned, against_dense, compared_cells, measure
from tombola.studies.tickets import Level, Positive, margin, tickets

if TYPE_CHECKING:
    import pandas as pd


class Warmup(Pruned):
    """A high learning rate, a low one, and one with warm-up; SGD with momentum throughout, whatever the task has."""

    chosen = {"scope": "this study compares both scopes; leave it as it is"}

    high: Positive = 0.1
    """Learning rate."""
    low: Positive = 0.01
    """Learning rate."""
    warm: Positive = 0.1
    """Learning rate with warm-up."""
    rise: Annotated[float, Field(gt=0, le=1)] = 0.09
    """Length of the linear warm-up, as a share of training."""
    compared: tuple[Level, ...] = tuple(range(1, 61))
    """Levels at which tickets are also re-initialised; those beyond `levels` do not count."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Percentage points of accuracy that count as no difference; None: 0.2 with 10,000 test examples, else 1."""


def _configure(scale: Scale, task: str) -> Warmup:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2},
        "small": {"replicates": 6, "levels": 13, "compared": (4, 7, 10, 13)},
        "paper": {"replicates": 5, "levels": 20},
    }
    found = named_task(task, scale)
    # VGG-19: rate .1 over 10,000 of 112,480 iterations; ResNet: rate .03 over 20,000 of 30,000.
    warm: dict[str, Any] = {"warm": 0.03, "rise": 2 / 3} if found.model.name == "resnet" else {}
    return Warmup(task=found, **warm, **by_scale[scale])


@study(
    "frankle2019.warmup",
    answers="Do deep networks have winning tickets at high learning rates, and what does warm-up change?",
    claims=("LTH-C21", "LTH-C22"),
    task="resnet20-cifar10-2019",
    configure=_configure,
)
def warmup(config: Warmup) -> Study:
    """Tickets by global and by layer-wise pruning, and re-initialised ones, at three learning-rate schedules."""
    length = config.task.recipe.steps.times(config.rise)
    settings = {
        "high": (_with(config.task, config.high), f"rate {config.high:g}"),
        "low": (_with(config.task, config.low), f"rate {config.low:g}"),
        "warm": (_with(config.task, config.warm, length), f"rate {config.warm:g}, warm-up {length}"),
    }
    rates = config.rates
    even = {name: max(rates.values()) if rate else 0.0 for name, rate in rates.items()}  # global pruning has one rate
    cells = []
    for variant, (task, _) in settings.items():
        for replicate in range(config.replicates):
            chain = tickets(config, replicate, task, scope="global", rates=even)
            cells += compared_cells(config, replicate, chain, config.compared, variant)
            layers = tickets(config, replicate, task, scope="layer")
            cells += [Cell("layer", replicate, level, run, variant=variant) for level, run in enumerate(layers) if level]
    return Study(
        name="frankle2019.warmup",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=partial(claims, margin(config.task, config.margin), config.task.model.name),
        arms={"ticket": "ticket, global pruning", "layer": "ticket, layer-wise pruning", "reinit": "global mask, fresh init"},
        variants={variant: label for variant, (_, label) in settings.items()},
        figures=(
            Figure(
                "warmup",
                "Learning rate, warm-up and the scope of pruning",
                (ACC_ES, ACC_FINAL),
                caption="As the paper's figures 7 and 8.",
            ),
        ),
    )


def _with(task: Task, rate: float, length: Step | str = "0it") -> Task:
    return task.but(recipe=task.recipe.but(optimizer="momentum", learning_rate=rate, warmup=length))


LEVELS = {"vgg": {"low": 0.07, "warm": 0.014}, "resnet": {"low": 0.2, "warm": 0.11}}
"""Down to which density the paper finds tickets at the low rate and with warm-up."""


def claims(margin: float, model: str, table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C21, about VGG-19, and LTH-C22, about the 20-layer ResNet: each is judged where that network was run."""
    return [
        Verdict(
            "LTH-C21",
            "VGG-19 has no winning tickets at rate .1, some at .01, and smaller ones with warm-up at .1, by global pruning.",
            f"{SOURCE}, section 4, figure 7",
            _effects(margin, table, "vgg", model),
            "" if model == "vgg" else f"Not judged: the claim is about VGG-19, and what was run is {model}.",
        ),
        Verdict(
            "LTH-C22",
            "The 20-layer ResNet has no winning tickets at rate .1, some at .01, and smaller ones with warm-up at .03.",
            f"{SOURCE}, section 4, figure 8",
            _effects(margin, table, "resnet", model),
            "" if model == "resnet" else f"Not judged: the claim is about the 20-layer ResNet, and what was run is {model}.",
        ),
    ]


def _effects(margin: float, table: "pd.DataFrame", network: str, model: str) -> tuple[Effect, ...]:
    rows = {variant: table[table.variant == variant] for variant in ("high", "low", "warm")}
    low, warm = LEVELS[network]["low"], LEVELS[network]["warm"]
    decides = network == model

    def effect(name: str, variant: str, values: "pd.DataFrame", note: str = "", judged: bool = True) -> Effect:
        return effect_over_levels(name, "pp", values, rows[variant], note=note, decides=decides and judged)

    def wins(variant: str, least: float, over: str = "reinit") -> "pd.DataFrame":
        return 100 * difference(rows[variant], "acc_final", "ticket", over, levels_within(rows[variant], least, 0.7))

    def holds(variant: str) -> "pd.DataFrame":
        accuracy, levels = 100 * by_replicate(rows[variant], "acc_final", "ticket"), levels_within(rows[variant], warm, low)
        return against_dense(accuracy, levels, lambda dense, sparse: sparse - dense)

    return (
        effect(
            f"high rate: {margin:g} pp - (ticket - re-init), at {100 * low:g} % or more",
            "high",
            margin - wins("high", low),
            "above 0: no winning tickets there",
        ),
        effect(f"low rate: ticket above re-init, at {100 * low:g} % or more", "low", wins("low", low)),
        effect(f"warm-up: ticket above re-init, at {100 * warm:g} % or more", "warm", wins("warm", warm)),
        effect(
            f"warm-up: ticket - dense + {margin:g} pp, at {100 * warm:g} to {100 * low:g} %",
            "warm",
            holds("warm") + margin,
            "above 0: it holds the dense accuracy where the low rate's does not",
        ),
        effect(
            "low rate: the same",
            "low",
            holds("low") + margin,
            judged=False,
        ),
        effect("warm-up: global above layer-wise pruning", "warm", wins("warm", 0, "layer"), judged=network == "vgg"),
    )
