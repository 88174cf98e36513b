"""Which weights to keep: tickets by criterion (section 2)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tombola.evaluation.paired import at_levels, by_replicate, difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Run
from tombola.pruning.criteria import criteria as registered
from tombola.studies.base import Scale, Study, study
from tombola.studies.frankle2019.common import METRICS, measure
from tombola.studies.tickets import Levels, PruningConfig, distinct, tickets
from tombola.studies.zhou2019.common import SOURCE, accuracy, at_scale, rows

if TYPE_CHECKING:
    import pandas as pd

BEST = ("large_final", "magnitude_increase")
PAIRS = (
    ("large_final", "small_final"),
    ("large_init", "small_init"),
    ("large_init_large_final", "small_init_small_final"),
    ("large_final_same_sign", "large_final_diff_sign"),
)
"""A criterion and its opposite."""
CRITERIA = {
    "large_final": "large final",
    "magnitude_increase": "magnitude increase",
    "large_final_same_sign": "large final, same sign",
    "movement": "movement",
    "large_init_large_final": "large init, large final",
    "large_init": "large init",
    "random": "random",
    "small_init": "small init",
    "small_init_small_final": "small init, small final",
    "small_final": "small final",
    "large_final_diff_sign": "large final, different sign",
}
NEAR = ("large_final", "magnitude_increase", "large_final_same_sign", "movement")
"""Those that are shown apart from the rest, which at high sparsity are far below."""
SAME, DIFFERENT = "_same_sign", "_diff_sign"


class Criteria(PruningConfig):
    """Iterative pruning by several criteria."""

    chosen = {"criterion": "this study compares several; set criteria instead"}

    criteria: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(CRITERIA)
    """Registered criteria, a user's own among them."""
    levels: Levels = 24
    """Rounds of pruning after the dense run: the paper's."""


def _configure(scale: Scale, task: str) -> Criteria:
    smoke = ("large_final", "magnitude_increase", "random", "small_final")
    return Criteria(task=named_task(task, scale), **at_scale(scale, criteria=smoke))


@study(
    "zhou2019.criteria",
    answers="Which weights should be kept: the large ones, those that grew, those that moved?",
    claims=("ZHOU-C1",),
    task="mnist1d-mlp",
    configure=_configure,
)
def criteria(config: Criteria) -> Study:
    """Each criterion's own chain of tickets, from one dense run a replicate.

    ZHOU-C1 is judged by accuracy at early stop, averaged over densities from 4 to 10 %, in two parts. *Best*: the mean of
    `large_final` and `magnitude_increase` above the best of all other criteria but the same-sign ones, which are large_final
    or magnitude_increase with a further condition; that best one is chosen by its mean over replicates and levels, which
    favours it. *Opposites*: each of four criteria above random, and random above its opposite; `magnitude_increase`, which
    has none here, above random.
    """
    distinct("criteria", config.criteria)
    for name in config.criteria:
        registered.check(name)
    drawings = (
        ("criteria", "Tickets by criterion: large final values, growth, movement", [name for name in config.criteria if not _wide(name)]),
        (
            "others",
            "Tickets by criterion: initial values, chance, and what others keep last",
            [name for name in config.criteria if _wide(name)],
        ),
    )
    return Study(
        name="zhou2019.criteria",
        config=config,
        cells=tuple(
            cell for replicate in range(config.replicates) for cell in rows(config.criteria, replicate, partial(_chain, config, replicate))
        ),
        metrics=METRICS,
        measure=measure,
        claims=claims,
        arms={name: CRITERIA.get(name, name) for name in config.criteria},
        figures=tuple(accuracy(name, title, arms) for name, title, arms in drawings if arms),
    )


def _chain(config: Criteria, replicate: int, criterion: str) -> list[Run]:
    return tickets(config, replicate, criterion=criterion)


def _wide(name: str) -> bool:
    """Whether its tickets fall so far that the others would be one line beside them."""
    return (name in CRITERIA and name not in NEAR) or name.startswith("small_") or name.endswith(DIFFERENT)


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """ZHOU-C1 on the table of the study."""
    levels = levels_within(table, 0.04, 0.1)
    effects = [_best(table, levels)]
    for kept, opposite in PAIRS:
        effects += [_beside(table, levels, kept, "random"), _beside(table, levels, "random", opposite)]
    effects.append(_beside(table, levels, "magnitude_increase", "random"))
    sentence = "Large final values and magnitude increase are the best criteria; a criterion and its opposite lie on either side of random."
    return [Verdict("ZHOU-C1", sentence, f"{SOURCE}, section 2", tuple(effects))]


def _best(table: "pd.DataFrame", levels: list[int]) -> Effect:
    name = "large final and magnitude increase, mean, above the best other, at 4 to 10 %"
    arms = list(table.arm.unique())
    others = [arm for arm in arms if arm not in BEST and not arm.endswith(SAME)]
    if not set(BEST) <= set(arms) or not others:
        lacking = [arm for arm in BEST if arm not in arms] or ["another to compare with"]
        empty = by_replicate(table, "acc_es", arms[0]).iloc[:, :0]
        return effect_over_levels(name, "pp", empty, table, note=f"not among the criteria: {lacking[0]}")
    found = {arm: 100 * at_levels(by_replicate(table, "acc_es", arm), levels) for arm in (*BEST, *others)}
    best = max(others, key=lambda arm: found[arm].mean().mean())
    note = f"the best other is {CRITERIA.get(best, best)}"
    return effect_over_levels(name, "pp", (found[BEST[0]] + found[BEST[1]]) / 2 - found[best], table, note=note)


def _beside(table: "pd.DataFrame", levels: list[int], better: str, worse: str) -> Effect:
    name = f"{CRITERIA[better]} above {CRITERIA[worse]}, at 4 to 10 %"
    lacking = [arm for arm in (better, worse) if arm not in set(table.arm)]
    note = f"not among the criteria: {lacking[0]}" if lacking else ""
    values = 100 * difference(table, "acc_es", better, worse, [] if lacking else levels)
    return effect_over_levels(name, "pp", values, table, note=note)
