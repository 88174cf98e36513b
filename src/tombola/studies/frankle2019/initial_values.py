"""Where a ticket's initial values come from, and how exactly they matter (appendix)."""

import itertools
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.task import Task
from tombola.evaluation.histogram import density_of, valley
from tombola.evaluation.paired import at_levels, by_replicate, difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Action, Run
from tombola.studies.base import Cell, Figure, Panel, Result, Scale, Study, study
from tombola.studies.frankle2019 import common
from tombola.studies.frankle2019.common import ACC_ES, ACC_FINAL, METRICS, SOURCE, Pruned, at_once
from tombola.studies.tickets import Level, Positive, distinct, reinitialised, spread_levels, tickets
from tombola.studies.tickets import margin as margin_of

if TYPE_CHECKING:
    import pandas as pd

EDGES = np.linspace(-2.5, 2.5, 41)
"""Bins of the histograms, in standard deviations of the layer's initial values."""


class InitialValues(Pruned):
    """Tickets whose initial values are kept, drawn again, disturbed, or looked at."""

    chosen = {"rewind": "this study is about initial values; leave it at '0it'"}

    noise: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.5, 1.0, 2.0, 3.0)
    """Standard deviations of the Gaussian noise, in those of the layer's initialiser."""
    compared: tuple[Level, ...] = (5, 7, 9, 11, 13)
    """Levels at which the controls are trained."""
    sgd_rate: Positive = 0.1
    """Learning rate of the SGD networks whose tickets' initial values are shown beside."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Percentage points of accuracy that count as no difference; None: 0.2 with 10,000 test examples, else 1."""


def _configure(scale: Scale, task: str) -> InitialValues:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2, "compared": (2,), "noise": (0.5, 3.0)},
        "small": {},
        "paper": {"levels": 20, "compared": (5, 7, 9, 11, 13, 15, 18)},
    }
    return InitialValues(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.initial_values",
    answers="Is it the distribution of a ticket's initial values, or each value, and how exactly?",
    claims=("LTH-C8", "LTH-C9", "LTH-C10", "LTH-C13"),
    task="mnist1d-mlp",
    configure=_configure,
)
def initial_values(config: InitialValues) -> Study:
    """Controls on the tickets' initial values; and their distribution, layer by layer, for the task's optimiser and for SGD."""
    distinct("noise", config.noise)
    tasks = {"task": config.task, "sgd": _with_sgd(config)}
    chains = {
        (which, replicate): tickets(config, replicate, task) for which, task in tasks.items() for replicate in range(config.replicates)
    }
    cells = [cell for replicate in range(config.replicates) for cell in _controls(config, replicate, chains["task", replicate])]
    cells += [Cell("sgd", replicate, *one) for replicate in range(config.replicates) for one in enumerate(chains["sgd", replicate])]
    arms = {
        "ticket": "winning ticket",
        "reinit": "same mask, fresh init",
        "resample": "same mask, values of kept weights",
        "before": "pruned before training",
        **{f"noise{scale:g}": f"ticket + {scale:g} sigma noise" for scale in config.noise},
        "sgd": "winning ticket, SGD",
    }
    shown = spread_levels(config.levels, 4)
    margin = margin_of(config.task, config.margin)
    return Study(
        name="frankle2019.initial_values",
        config=config,
        cells=tuple(cells),
        metrics=(*METRICS, *VALLEYS),
        keep={chain[0]: ("0it",) for chain in chains.values()},
        measure=measure,
        claims=partial(claims, margin, config.noise, config.task.recipe.optimizer),
        arms=arms,
        details=partial(details, chains, shown),
        figures=(
            Figure(
                "resampled",
                "Initial values drawn again",
                (ACC_ES, ACC_FINAL),
                arms=("ticket", "reinit", "resample", "before"),
                caption="Values of kept weights: drawn anew from those that the ticket keeps. Before training: the smallest |w_i| go.",
            ),
            Figure(
                "noise",
                "Noise on the ticket's initial values",
                (ACC_ES, ACC_FINAL),
                arms=("ticket", *(f"noise{scale:g}" for scale in config.noise), "reinit"),
                caption="Gaussian noise in units of sigma, the standard deviation of the layer's initialiser.",
            ),
            *(
                Figure(
                    name=f"distribution_{which}",
                    title=f"Initial values of the weights that remain, {label}",
                    kind="profile",
                    detail=f"initial_values_{which}",
                    panels=(Panel("value", "density"),),
                    x_label="initial value (layer's sigma)",
                    levels=shown,
                    caption="Histograms over the layer's kept weights, normalised to area 1.",
                )
                for which, label in (("task", config.task.recipe.optimizer), ("sgd", "SGD"))
            ),
        ),
    )


def _with_sgd(config: InitialValues) -> Task:
    return config.task.but(recipe=config.task.recipe.but(optimizer="sgd", learning_rate=config.sgd_rate))


def _controls(config: InitialValues, replicate: int, chain: list[Run]) -> list[Cell]:
    cells = [Cell("ticket", replicate, level, run) for level, run in enumerate(chain)]
    for level in config.within(config.compared):
        ticket = chain[level]
        same = Action(name="parent_mask", of=(ticket.its_mask(),))
        others = {
            "reinit": reinitialised(ticket, level),
            "resample": ticket.but(mask=same, kept=Action(name="resample", options={"stream": f"resample/{level}"})),
            "before": ticket.but(mask=at_once(config.pruning.but(criterion="large_init", prune_at="0it"), chain[0], level)),
        }
        for scale in config.noise:
            noise = Action(name="noise", options={"scale": scale, "stream": f"noise/{level}"})
            others[f"noise{scale:g}"] = ticket.but(mask=same, kept=noise)
        cells += [Cell(arm, replicate, level, run) for arm, run in others.items()]
    return cells


# -- the distribution of initial values --------------------------------------------------------------------------------


VALLEYS = {"valley_first": "first layer", "valley_middle": "last hidden layer", "valley_output": "output layer"}


def measure(cell: Cell, results: Mapping[Run, Result]) -> dict[str, float]:
    """The common metrics; of tickets also how hollow the distribution of their initial values is in three layers:
    the first, the last but one, and the output layer (`evaluation.histogram.valley`).
    """
    found = common.measure(cell, results)
    if cell.arm not in ("ticket", "sgd") or cell.level == 0:
        return found | dict.fromkeys(VALLEYS, np.nan)
    initial = results[Run(task=cell.run.task, seed=cell.run.seed)].weights("0it")
    mask = results[cell.run].weights("mask")
    paths = list(mask)
    chosen = {"valley_first": paths[0], "valley_output": paths[-1], **({"valley_middle": paths[-2]} if len(paths) > 2 else {})}
    return found | {
        name: valley(initial[chosen[name]][mask[chosen[name]]], float(initial[chosen[name]].std())) if name in chosen else np.nan
        for name in VALLEYS
    }


def details(
    chains: Mapping[tuple[str, int], list[Run]], levels: tuple[int, ...], results: Mapping[Run, Result]
) -> "dict[str, pd.DataFrame]":
    """Histograms of the kept weights' initial values by layer, for the task's optimiser and for SGD."""
    import pandas as pd

    rows: dict[str, list[dict[str, Any]]] = {"task": [], "sgd": []}
    centres = (EDGES[:-1] + EDGES[1:]) / 2
    for (which, replicate), chain in chains.items():
        initial = results[chain[0]].weights("0it")
        for level in levels:
            mask, density = results[chain[level]].weights("mask"), results[chain[level]].summary["density"]
            for path, leaf in mask.items():
                heights = density_of(initial[path][leaf] / initial[path].std(), EDGES)
                where = {
                    "variant": path.removesuffix("/kernel"),
                    "arm": "ticket" if which == "task" else "sgd",
                    "level": level,
                    "density": density,
                    "replicate": replicate,
                }
                rows[which] += [{**where, "x": float(x), "value": float(y)} for x, y in zip(centres, heights, strict=True)]
    return {f"initial_values_{which}": pd.DataFrame(found) for which, found in rows.items()}


# -- claims ------------------------------------------------------------------------------------------------------------


def claims(margin: float, noise: tuple[float, ...], optimizer: str, table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C8, C9, C10 and C13 on the table of the study."""
    return [_c8(table, optimizer), _c9(table, margin), _c10(table), _c13(table, noise, margin)]


def _c8(table: "pd.DataFrame", optimizer: str) -> Verdict:
    levels = levels_within(table, 0, 0.22)
    adam = optimizer in ("adam", "adamw")
    effects = []
    expected = {
        ("ticket", "valley_first"): -1 if adam else 1,
        ("ticket", "valley_middle"): 1,
        ("ticket", "valley_output"): 1,
        **{("sgd", name): 1 for name in VALLEYS},
    }
    for (arm, metric), sign in expected.items():
        values = sign * at_levels(by_replicate(table, metric, arm), levels)
        layer = VALLEYS[metric]
        what = "values near 0 rarer than near one sigma" if sign > 0 else "values near 0 no rarer than near one sigma"
        effects.append(effect_over_levels(f"{optimizer if arm == 'ticket' else 'sgd'}, {layer}: {what}", "log2 ratio", values, table))
    sentence = "Initial values of the weights that remain are bimodal, away from 0: with Adam in all layers but the first, with SGD in all."
    return Verdict("LTH-C8", sentence, f"{SOURCE}, appendix", tuple(effects), "At 22 % density or less; a normal distribution has -0.71.")


def _c9(table: "pd.DataFrame", margin: float) -> Verdict:
    better = 100 * difference(table, "acc_es", "resample", "reinit", levels_within(table, 0, 0.35))
    ticket = 100 * difference(table, "acc_es", "ticket", "resample", levels_within(table, 0, 0.35))
    effects = (
        effect_over_levels(
            f"{margin:g} pp - (values of kept weights - fresh init)", "pp", margin - better, table, note="above 0: no better by the margin"
        ),
        effect_over_levels("ticket above values of kept weights", "pp", ticket, table, decides=False),
    )
    sentence = "A re-initialisation drawn from the initial values of the kept weights is no better than one from the initialiser."
    return Verdict("LTH-C9", sentence, f"{SOURCE}, appendix", effects)


def _c10(table: "pd.DataFrame") -> Verdict:
    gap = 100 * difference(table, "acc_es", "reinit", "before", levels_within(table, 0, 0.22))
    effects = (effect_over_levels("re-init of the ticket's mask above pruning before training, at 22 % or less", "pp", gap, table),)
    sentence = "Pruning the smallest weights before training is worse than re-initialising the mask of a winning ticket."
    return Verdict("LTH-C10", sentence, f"{SOURCE}, appendix", effects)


def _c13(table: "pd.DataFrame", noise: tuple[float, ...], margin: float) -> Verdict:
    levels = levels_within(table, 0, 0.22)
    names = [f"noise{scale:g}" for scale in sorted(noise)]
    least, most = names[0], names[-1]
    lost = 100 * difference(table, "acc_es", "ticket", least, levels)
    effects: list[Effect] = [
        effect_over_levels(
            f"{margin:g} pp - loss by {least.removeprefix('noise')} sigma",
            "pp",
            margin - lost,
            table,
            note="above 0: harmless by the margin",
        )
    ]
    for smaller, larger in itertools.pairwise(names):
        values = 100 * difference(table, "acc_es", smaller, larger, levels)
        effects.append(
            effect_over_levels(f"{smaller.removeprefix('noise')} above {larger.removeprefix('noise')} sigma", "pp", values, table)
        )
    left = 100 * difference(table, "acc_es", most, "reinit", levels)
    effects.append(effect_over_levels(f"{most.removeprefix('noise')} sigma still above a fresh init", "pp", left, table))
    ends = [name.removeprefix("noise") for name in (least, most)]
    sentence = f"Noise of {ends[0]} sigma on a ticket's initial values is harmless, more costs accuracy, {ends[1]} sigma beat a fresh init."
    return Verdict("LTH-C13", sentence, f"{SOURCE}, appendix", tuple(effects), "At 22 % density or less.")
