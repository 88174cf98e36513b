"""From which step on a network is stable to SGD noise, and what else changes there (sections 3 and 4, appendix)."""

from functools import partial
from typing import TYPE_CHECKING

from tombola.core.task import Task
from tombola.evaluation.paired import by_replicate, densities, effect_of, effect_over_levels
from tombola.evaluation.statistics import rank_correlation
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Figure, Scale, Study, study
from tombola.studies.frankle2020.beside import Beside, beside_arms, beside_cells, beside_fields
from tombola.studies.frankle2020.common import (
    ACCURACY,
    COSINE,
    DISAGREEMENT,
    METRICS,
    OF_INITIAL,
    SOURCE,
    instability_panel,
    measure,
    of_first,
    stable_levels,
    steps_of,
)

if TYPE_CHECKING:
    import pandas as pd

LARGE = ("resnet", "vgg", "deep_resnet")
EARLY = {"resnet20-cifar10": 0.03, "vgg16-cifar10": 0.015, "resnet50-imagenet": 0.2}
"""Task -> share of training by which the paper's dense network is stable."""

OTHERS = "the claim is about ResNet-20, VGG-16 and ResNet-50 at their standard rates, unstable at first"
NOTHING = "no unstable phase that ends at a k that was run, so there is nothing to see"
AT_ONSET = "at the first stable k"
TRACKS = (
    ("dense", "distance", 1, "dense network: more of the 2-norm than of instability is left, by 0.25 and"),
    ("dense", "disagreement", 1, "dense network: more of the disagreement than of instability is left, by 0.25 and"),
    ("ticket", "disagreement", -1, "ticket: as little of the disagreement as of instability is left, within 0.25 by"),
)
"""(arm, metric, sign, effect) of what does not track instability (+1), or does (-1)."""


class Stability(Beside):
    """Instability of dense networks, and of tickets of one density, against k."""


def _configure(scale: Scale, task: str) -> Stability:
    return Stability(**beside_fields(scale, named_task(task, scale)))


@study(
    "frankle2020.instability",
    answers="From which step of training on does SGD noise no longer matter?",
    claims=("LMC-C1", "LMC-C2", "LMC-C3", "LMC-C5", "LMC-C6"),
    task="digits-noise-mlp",
    configure=_configure,
)
def instability(config: Stability) -> Study:
    """Barrier, distance, cosine and disagreement between children of W_k, against k."""
    return Study(
        name="frankle2020.instability",
        config=config,
        cells=tuple(beside_cells(config, steps_of(config.k, config.task))),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms=beside_arms(config),
        levels="steps",
        figures=(
            Figure(
                "instability",
                "Instability against the step k at which the copies are made",
                (instability_panel(config), ACCURACY),
                x="step",
                caption=config.said(),
            ),
            Figure(
                "similarity",
                "What else the children have in common",
                (OF_INITIAL, COSINE, DISAGREEMENT),
                x="step",
                caption="Of two children: 2-norm and cosine over the trainable weights that the mask keeps, and how often they disagree, "
                "each with its own statistics of batch norm. W_0: the initialisation.",
            ),
        ),
    )


def claims(config: Stability, table: "pd.DataFrame") -> list[Verdict]:
    """LMC-C1, C2, C3, C5 and C6 on the table of the study."""
    return [_c1(config, table), _c2(config, table), _c3(config, table), _c5(config, table), _c6(config, table)]


def expected(task: Task) -> str:
    """What the paper says of a network at initialisation: "stable", "unstable", or "" where it says nothing."""
    if task.model.name == "mlp" and task.data.name in ("mnist", "digits") and not task.data.label_noise:
        return "stable"
    return "unstable" if task.model.name in LARGE and task.data.name in ("cifar10", "imagenet") else ""


def _c1(config: Stability, table: "pd.DataFrame") -> Verdict:
    said = expected(config.task) if table.step.min() == 0 else ""
    sign, side = (-1, "below") if said == "stable" else (1, "above")
    values = sign * 100 * (by_replicate(table, "instability", "dense")[[0]] - config.stable)
    note = "" if said else "the claim is about other networks at k = 0: LeNet on MNIST, and large convolutional ones"
    name = f"instability at the first k {side} {100 * config.stable:g} pp, by"
    effect = effect_over_levels(name, "pp", values, table, note=note, decides=bool(said), along="step")
    sentence = "LeNet is stable to SGD noise at initialisation; the larger networks are not."
    return Verdict("LMC-C1", sentence, f"{SOURCE}, section 4, figure 2", (effect,))


def _c2(config: Stability, table: "pd.DataFrame") -> Verdict:
    share = EARLY.get(config.task.name, 0.03)
    judged = config.task.name in EARLY and by_replicate(table, "instability", "dense")[0].mean() >= config.stable
    levels = [level for level, of in densities(table, "share").items() if 0 < of <= 2 * share][-1:]
    values = 100 * (config.stable - by_replicate(table, "instability", "dense")[levels])
    note = f"the paper's onset: {100 * share:g} %; twice that is allowed" if judged else OTHERS
    name = f"instability at the last k up to {200 * share:g} % of training below {100 * config.stable:g} pp, by"
    effect = effect_over_levels(name, "pp", values, table, note=note, decides=judged, along="step")
    return Verdict("LMC-C2", "Dense networks become stable early in training.", f"{SOURCE}, section 4, figure 3", (effect,))


def _c3(config: Stability, table: "pd.DataFrame") -> Verdict:
    values = by_replicate(table, "instability", "dense")
    name = "-rank correlation of instability with k"
    if values[0].mean() < config.stable or values.shape[1] < 3:
        effect = effect_of(name, "rho", [], note=NOTHING)
    else:
        effect = effect_of(name, "rho", [-rank_correlation(values.columns, row) for row in values.to_numpy()], least=0.5)
    fall = effect_of(
        "instability at the first k, less that at the last", "pp", 100 * (values.iloc[:, 0] - values.iloc[:, -1]), decides=False
    )
    return Verdict("LMC-C3", "Instability falls monotonically with k.", f"{SOURCE}, section 4, figure 3", (effect, fall))


def _c5(config: Stability, table: "pd.DataFrame") -> Verdict:
    levels = stable_levels(table, "dense", config.stable)
    levels = levels if 0 not in levels else []  # never unstable
    ahead = by_replicate(table, "since_start", "dense") / by_replicate(table, "since_initial", "dense")
    far = 100 * (ahead[levels[:1]] - 0.5)
    apart = 100 * (by_replicate(table, "of_initial", "dense")[levels] - 0.25)
    effects = (
        effect_over_levels("way from W_k to the end above 50 % of the way from W_0, by", "pp", far, table, note=AT_ONSET, along="step"),
        effect_over_levels("2-norm between stable children above 25 % of the way from W_0, by", "pp", apart, table, along="step"),
    )
    sentence = "When networks become stable they are still far from where training ends, and their children stay far from each other."
    return Verdict("LMC-C5", sentence, f"{SOURCE}, section 4 and appendix", effects, "The paper: 25 to 45 % of the way from W_0.")


def _c6(config: Stability, table: "pd.DataFrame") -> Verdict:
    effects = []
    for arm, metric, sign, name in TRACKS:
        levels = [level for level in stable_levels(table, arm, config.stable) if level > 0][:1] if arm in set(table.arm) else []
        if not levels or by_replicate(table, "instability", arm)[0].mean() < config.stable:
            effects.append(effect_of(name, "share left", [], note=NOTHING))
            continue
        apart = of_first(table, metric, arm)[levels] - of_first(table, "instability", arm)[levels]
        values = apart - 0.25 if sign > 0 else 0.25 - apart.abs()
        effects.append(effect_over_levels(name, "share left", values, table, note=AT_ONSET, along="step"))
    sentence = "The 2-norm between children does not track instability; classification differences do for tickets only."
    note = "Shares of the values at the first k that are left at the first stable k; a quarter apart is not to track."
    return Verdict("LMC-C6", sentence, f"{SOURCE}, appendix", tuple(effects), note)
