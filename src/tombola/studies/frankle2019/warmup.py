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
from tombola.studies.frankle2019 import common
from tombola.studies.frankle2019.common import (
    ACC_ES,
    ACC_FINAL,
    METRICS,
    SOURCE,
    Level,
    Pruned,
    against_dense,
    measure,
    reinitialised,
    tickets,
)

if TYPE_CHECKING:
    import pandas as pd

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Warmup(Pruned):
    """A high learning rate, a low one, and one with warm-up; SGD with momentum throughout."""

    high: Rate = 0.1
    """Learning rate."""
    low: Rate = 0.01
    """Learning rate."""
    warm: Rate = 0.1
    """Learning rate with warm-up."""
    rise: Annotated[float, Field(gt=0, le=1)] = 0.09
    """Length of the linear warm-up, as a share of training."""
    compared: tuple[Level, ...] = tuple(range(1, 61))
    """Levels at which tickets are also re-initialised; those beyond `levels` do not count."""
    margin: Annotated[float, Field(ge=0)] = 1.0
    """Percentage points of accuracy that count as no difference."""


def _configure(scale: Scale, task: str) -> Warmup:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2},
        "small": {"replicates": 6, "levels": 13, "compared": (4, 7, 10, 13)},
        "paper": {"replicates": 5, "levels": 20},
    }
    found = named_task(task, scale)
    # VGG-19: rate .1 over 10,000 of 112,480 iterations; ResNet: rate .03 over 20,000 of 30,000.
    warm: dict[str, Any] = {"warm": 0.03, "rise": 2 / 3} if found.model.name == "resnet" else {}
    return Warmup(task=found, margin=common.margin(found), **warm, **by_scale[scale])


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
    rates = config.rates_of(config.task)
    even = {kind: max(rates.values()) if rate else 0.0 for kind, rate in rates.items()}  # global pruning has one rate
    cells = []
    for variant, (task, _) in settings.items():
        for replicate in range(config.replicates):
            chain = tickets(config, replicate, task, scope="global", rates=even)
            cells += [Cell("ticket", replicate, level, run, variant=variant) for level, run in enumerate(chain)]
            layers = tickets(config, replicate, task, scope="layer")
            cells += [Cell("layer", replicate, level, run, variant=variant) for level, run in enumerate(layers) if level]
            cells += [
                Cell("reinit", replicate, level, reinitialised(chain[level], level), variant=variant)
                for level in config.within(config.compared)
            ]
    return Study(
        name="frankle2019.warmup",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=partial(claims, config.margin, config.task.model.name),
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


def claims(margin: float, model: str, table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C21 and C22: one pattern, of which the first is about VGG-19 and the second about the 20-layer ResNet."""
    rows = {variant: table[table.variant == variant] for variant in ("high", "low", "warm")}
    wins = {variant: 100 * difference(of, "acc_final", "ticket", "reinit", levels_within(of, 0, 0.35)) for variant, of in rows.items()}
    warm = rows["warm"]
    accuracy = 100 * by_replicate(warm, "acc_final", "ticket")
    holds = against_dense(accuracy, levels_within(warm, 0.1, 0.35), lambda dense, sparse: sparse - dense + margin)
    scope = 100 * difference(warm, "acc_final", "ticket", "layer", levels_within(warm, 0, 0.22))
    pattern: tuple[Effect, ...] = (
        effect_over_levels(
            f"high rate: {margin:g} pp - (ticket - re-init), at 35 % or less",
            "pp",
            margin - wins["high"],
            rows["high"],
            note="above 0: no winning tickets there",
        ),
        effect_over_levels("low rate: ticket above re-init, at 35 % or less", "pp", wins["low"], rows["low"]),
        effect_over_levels("warm-up: ticket above re-init, at 35 % or less", "pp", wins["warm"], warm),
        effect_over_levels(
            f"warm-up: ticket - dense + {margin:g} pp, at 35 to 10 %", "pp", holds, warm, note="above 0: it holds the dense accuracy"
        ),
    )
    by_scope = effect_over_levels(
        "warm-up: global above layer-wise pruning, at 22 % or less", "pp", scope, warm, decides=model.startswith("vgg")
    )
    return [
        Verdict(
            "LTH-C21",
            "VGG-19 has no winning tickets at rate .1, nearly at .01, and with warm-up at .1; global pruning reaches smaller ones.",
            f"{SOURCE}, section 4, figure 7",
            (*pattern, by_scope),
            "" if model.startswith("vgg") else f"The claim is about VGG-19; what was run is {model}.",
        ),
        Verdict(
            "LTH-C22",
            "The 20-layer ResNet has no winning tickets at rate .1, some at .01, and smaller ones with warm-up at .03.",
            f"{SOURCE}, section 4, figure 8",
            pattern,
            "" if model == "resnet" else f"The claim is about the 20-layer ResNet; what was run is {model}.",
        ),
    ]
