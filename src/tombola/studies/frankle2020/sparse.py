"""Sparse networks: stable, or matching, or both? (section 5, figures 5 and 6)"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tombola.core.errors import TombolaError
from tombola.evaluation.paired import by_replicate, effect_of
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Panel, Scale, Study, study
from tombola.studies.frankle2020.common import SOURCE, instability_panel, steps_of
from tombola.studies.frankle2020.grid import ARMS, CONTROLS, GRID_METRICS, LATEST, Grid, grid_fields, measure_grid, onsets, places
from tombola.studies.frankle2020.instability import expected
from tombola.studies.tickets import Level, distinct, margin

if TYPE_CHECKING:
    import pandas as pd


class SparseStability(Grid):
    """Instability and accuracy of tickets, randomly pruned and re-initialised networks, over k and density."""

    judged: Level | None = None
    """The round, one of `compared`, at which C7, C8 and C9 are judged; None: the last at which tickets match at some k."""


def _configure(scale: Scale, task: str) -> SparseStability:
    return SparseStability(**grid_fields(scale, named_task(task, scale)))


def gap_panel(config: Grid) -> Panel:
    """Accuracy against the dense network's, with the line above which it is matched."""
    accuracy = "training accuracy" if config.part == "train" else "test accuracy"
    return Panel("gap", f"{accuracy} - dense (pp)", 100, threshold=-margin(config.task, config.margin) / 100)


@study(
    "frankle2020.sparse",
    answers="Are sparse networks that match the dense one those that are stable to SGD noise?",
    claims=("LMC-C7", "LMC-C8", "LMC-C9", "LMC-C10"),
    task="digits-noise-mlp",
    configure=_configure,
)
def sparse(config: SparseStability) -> Study:
    """IMP with rewinding to k, random pruning and fresh initialisations at several densities: instability and accuracy."""
    distinct("compared", config.compared)
    if config.judged is not None and config.judged not in config.compared:
        raise TombolaError(f"judged = {config.judged}, but compared = {list(config.compared)}; choose one of these")
    cells: list[Cell] = []
    for place, rows in places(config).items():
        rounds = config.compared if place.arm == "dense" else (place.round,)
        cells += [replace(cell, variant=str(level)) for level in rounds for cell in rows]
    return Study(
        name="frankle2020.sparse",
        config=config,
        cells=tuple(cells),
        metrics=GRID_METRICS,
        measure=partial(measure_grid, config),
        claims=partial(claims, config),
        arms=ARMS,
        variants={str(level): f"after {level} round{'s' if level > 1 else ''} of pruning" for level in config.compared},
        levels="steps",
        figures=(
            Figure(
                "sparse",
                "Instability and accuracy of sparse networks against the step k",
                (instability_panel(config), gap_panel(config)),
                x="step",
                caption=config.said(),
            ),
        ),
    )


def claims(config: SparseStability, table: "pd.DataFrame") -> list[Verdict]:
    """LMC-C7, C8, C9 and C10 on the table of the study."""
    rows = _judged(config, table)
    return [_c7(config, rows), _c8(config, rows), _c9(config, rows), _c10(config, table)]


def _judged(config: SparseStability, table: "pd.DataFrame") -> "pd.DataFrame | None":
    """The rows of the density that is judged: the lowest at which tickets match at some k, by their mean over replicates.
    None: they never do.
    """
    if config.judged is not None:
        return table[table.variant == str(config.judged)]
    mean = table[table.arm == "ticket"].groupby(["variant", "level"]).gap.mean().groupby(level="variant").max()
    matching = [variant for variant in mean.index if 100 * mean[variant] >= -margin(config.task, config.margin)]
    return table[table.variant == max(matching, key=int)] if matching else None


WHERE = (
    "At the lowest of the densities at which tickets match at some k, as the paper chooses its own (or at the one that was set "
    "beforehand: `judged`). Chosen by the same data, it favours matching."
)
NOWHERE = "tickets match at none of the densities; compare higher ones: --set 'compared=[1, 2, 3]'"
UNIT = "places of k"
NEVER = "the dense network is stable from the first k on"


def _c7(config: SparseStability, rows: "pd.DataFrame | None") -> Verdict:
    tolerance = margin(config.task, config.margin)
    effects = []
    if rows is None or rows.step.min() > 0:
        effects.append(effect_of("k = 0", "pp", [], note=NOWHERE if rows is None else "k = 0 was not run"))
    elif by_replicate(rows, "instability", "ticket")[0].mean() < config.stable:
        values = 100 * by_replicate(rows, "gap", "ticket")[0] + tolerance
        effects.append(effect_of(f"stable at k = 0: accuracy above dense - {tolerance:g} pp, by", "pp", values))
    else:
        for arm in CONTROLS:
            values = tolerance - 100 * (by_replicate(rows, "gap", "ticket") - by_replicate(rows, "gap", arm))[0]
            effects.append(effect_of(f"unstable at k = 0: less than {tolerance:g} pp above {ARMS[arm]}, by", "pp", values))
    sentence = "Rewound to k = 0, tickets match where they are stable; elsewhere they are no better than the controls."
    return Verdict("LMC-C7", sentence, f"{SOURCE}, section 5, figure 5", tuple(effects), WHERE)


def _c8(config: SparseStability, rows: "pd.DataFrame | None") -> Verdict:
    last, sooner, apart, note = len(steps_of(config.k, config.task)), [], [], NOWHERE
    if rows is not None:
        found = onsets(config, rows).pivot(index="replicate", columns="arm")
        unstable = by_replicate(rows, "instability", "dense")[0].mean() >= config.stable
        sooner = list(found.stable.dense - found.stable.ticket) if unstable else []
        both = (found.stable.ticket < last) & (found.matching.ticket < last)
        apart = list((found.stable.ticket - found.matching.ticket).abs()[both])
        note = "" if unstable else NEVER
    effects = (
        effect_of("tickets are stable at an earlier k than the dense network", UNIT, sooner, note=note),
        effect_of("k of stability and k of matching less than 1.5 places apart, by", UNIT, [1.5 - one for one in apart], note=note),
    )
    sentence = "With k > 0 tickets become stable, and matching at about the same k, earlier than the dense network becomes stable."
    note = f"k is one of {last} steps; a place is the way to the next. {WHERE} Replicates whose ticket does not become both are left out."
    return Verdict("LMC-C8", sentence, f"{SOURCE}, section 5, figure 5", effects, note)


def _c9(config: SparseStability, rows: "pd.DataFrame | None") -> Verdict:
    excepted = expected(config.task) == "stable"
    note = NOWHERE if rows is None else "the paper excepts LeNet" if excepted else ""
    effects = []
    for arm in CONTROLS:
        early = None if rows is None else rows[rows.share <= LATEST]
        least = [] if early is None else 100 * (by_replicate(early, "instability", arm).min(axis=1) - config.stable)
        name = f"{ARMS[arm]}: least instability over k above {100 * config.stable:g} pp, by"
        effects.append(effect_of(name, "pp", least, decides=not excepted, note=note))
    sentence = "Randomly pruned and re-initialised networks are unstable at every k."
    note = f"For k up to {100 * LATEST:g} % of training. {WHERE}"
    return Verdict("LMC-C9", sentence, f"{SOURCE}, section 5, figure 5", tuple(effects), note)


def _c10(config: SparseStability, table: "pd.DataFrame") -> Verdict:
    tolerance = margin(config.task, config.margin) / 100
    random = table[table.arm == "random"].groupby(["variant", "level"]).gap.mean().groupby(level="variant").max()
    rows = table[table.arm.isin(["ticket", "reinit"]) & table.variant.isin(random.index[random < -tolerance])]
    mean = rows.groupby(["replicate", "variant", "arm", "level"])[["instability", "gap"]].mean()
    stable, matching = mean.instability < config.stable, mean.gap >= -tolerance
    shares = [matching[which].groupby(level="replicate").mean() for which in (stable, ~stable)]
    effects: tuple[Effect, ...] = (
        effect_of("share that matches, of the stable less of the unstable networks", "share", shares[0] - shares[1]),
        effect_of("share that matches, of the unstable networks, below 0.1 by", "share", 0.1 - shares[1]),
    )
    note = "Tickets and their re-initialisations, at the densities where random pruning matches at no k: elsewhere any sparse network does."
    return Verdict(
        "LMC-C10", "Sparse networks match the dense one only where they are stable.", f"{SOURCE}, section 5, figure 6", effects, note
    )
