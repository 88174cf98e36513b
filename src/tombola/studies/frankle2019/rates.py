"""Pruning rates: how much a round may take (appendix)."""

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tombola.evaluation.paired import by_replicate, effect_over_levels, interpolated
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Scale, Study, study
from tombola.studies.frankle2019.common import ACC_ES, ACC_FINAL, ES, METRICS, SOURCE, Pruned, measure
from tombola.studies.tickets import Share, distinct, tickets

if TYPE_CHECKING:
    import pandas as pd


class PruningRates(Pruned):
    """The same network pruned in many small rounds or in few large ones."""

    fractions: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.1, 0.2, 0.4, 0.6, 0.8)
    """Share of the remaining weights that a round takes where the task's rate is highest; other layers in proportion."""
    smallest: Share = 0.03
    """Rounds go on until the density is at or below this (nominally), or `levels` rounds are done."""


def _configure(scale: Scale, task: str) -> PruningRates:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2, "fractions": (0.2, 0.6)},
        "small": {"levels": 60},
        "paper": {"levels": 60, "smallest": 0.012},
    }
    return PruningRates(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.rates",
    answers="How much may one round of pruning take?",
    claims=("LTH-C15",),
    task="mnist1d-mlp",
    configure=_configure,
)
def rates(config: PruningRates) -> Study:
    """A chain of tickets for each pruning rate. Levels are the steps of all ladders together, from dense to sparse."""
    distinct("fractions", config.fractions)
    ladders = {fraction: _ladder(config, fraction) for fraction in config.fractions}
    places = {density: place for place, density in enumerate(sorted({d for ladder in ladders.values() for d in ladder}, reverse=True))}
    cells = []
    for replicate in range(config.replicates):
        for fraction, ladder in ladders.items():
            taken = {kind: fraction * rate / _highest(config) for kind, rate in config.rates.items()}
            chain = tickets(config, replicate, levels=len(ladder) - 1, rates=taken)
            cells += [Cell(str(fraction), replicate, places[density], run) for density, run in zip(ladder, chain, strict=True)]
    return Study(
        name="frankle2019.rates",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=claims,
        arms={str(fraction): f"{fraction:.0%} a round" for fraction in config.fractions},
        figures=(
            Figure(
                "rates",
                "Pruning rates",
                (ES, ACC_ES, ACC_FINAL),
                caption="Iterative pruning that takes so much of the remaining weights in a round (the output layer in proportion).",
            ),
        ),
    )


def _highest(config: PruningRates) -> float:
    return max(config.rates.values()) or 1.0


def _ladder(config: PruningRates, fraction: float) -> list[float]:
    """Nominal densities, dense first."""
    rounds = min(config.levels, math.ceil(math.log(config.smallest) / math.log(1 - fraction)))
    return [round((1 - fraction) ** level, 6) for level in range(rounds + 1)]


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C15 on the table of the study: each fast ladder against the one of 20 % at the fast one's densities."""
    arms, slow = list(table.arm.unique()), "0.2"
    effects = [
        effect_over_levels(
            f"20 % a round above {float(fast):.0%}, at 25 % or less", "pp", _ahead(table, slow, fast), table[table.arm == fast]
        )
        for fast in arms
        if float(fast) >= 0.4 and slow in arms
    ]
    if {"0.1", slow} <= set(arms):
        values, rows = _ahead(table, "0.1", slow), table[table.arm == slow]
        effects.append(effect_over_levels("10 % a round above 20 %", "pp", values, rows, decides=False, note="not claimed"))
    sentence = "Rates of 10 and 20 % a round give tickets that stay accurate at smaller sizes than 40 % or more."
    return [Verdict("LTH-C15", sentence, f"{SOURCE}, appendix", tuple(effects))]


def _ahead(table: "pd.DataFrame", slow: str, fast: str) -> "pd.DataFrame":
    """Accuracy of the slow ladder - the fast one's (pp) at the fast one's densities of 25 % or less that the slow one reaches."""
    density = by_replicate(table, "density", fast).mean()
    gap = 100 * (interpolated(table, "acc_es", slow, fast) - by_replicate(table, "acc_es", fast))
    return gap[density.index[density <= 0.25]].dropna(axis=1)
