"""What pruned weights may be held at: zero, their initial values, or what they moved towards (mask-0 actions, section 4)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import numpy as np
from pydantic import Field

from tombola.evaluation.paired import at_levels, by_replicate, difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.imp import pruned_mask
from tombola.procedures.run import Action, Run
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.frankle2019.common import METRICS as COMMON
from tombola.studies.frankle2019.common import measure as measure_run
from tombola.studies.tickets import distinct, margin, tickets
from tombola.studies.zhou2019.common import SOURCE, Masked, accuracy, at_scale, rows

if TYPE_CHECKING:
    import pandas as pd

Treatment = Literal["zero", "freeze", "v1", "v2", "random", "away"]
TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)
ARMS = {
    "zero": "zero",
    "freeze": "frozen at W_k",
    "v1": "zero if moved towards 0, else W_k (V1)",
    "v2": "V1, kept likewise (V2)",
    "random": "as many zero at random",
    "away": "zero if moved away from 0",
}
CONTROLS = ("random", "away")
METRICS = (*COMMON, "moved_kept", "moved_pruned")
"""`moved_...`: of the weights that trained in the run before, the share with |w_f| < |w_k|, among those that the round kept,
and among those that it pruned; of controls that of V1."""
FAR = 2
"""Far more often is more than so many times as often: ours, the paper names no number."""


class Mask0(Masked):
    """Tickets whose pruned weights are held at other values than zero."""

    treatments: Annotated[tuple[Treatment, ...], Field(min_length=1)] = TREATMENTS


def _configure(scale: Scale, task: str) -> Mask0:
    return Mask0(task=named_task(task, scale), **at_scale(scale))


@study(
    "zhou2019.mask0",
    answers="Is zero the right value for pruned weights, and why: is masking training?",
    claims=("ZHOU-C3", "ZHOU-C4", "ZHOU-C5"),
    task="mnist1d-mlp",
    configure=_configure,
)
def mask0(config: Mask0) -> Study:
    """Chains of tickets by what their pruned weights are held at, and two controls.

    Each of zero, freeze, V1 and V2 prunes by the weights that it ended with itself. V1 looks at where weights ended in the
    run before: a pruned weight that is held at 0 has moved towards 0, one that is held at w_k has not moved, so both stay
    as they are. The controls are not chains, in which that would not hold: each is the network of V1 at its level, under
    the same mask, with other pruned values: 0 where V1 holds w_k and w_k where it holds 0 (`away`), or 0 at as many places,
    drawn anew at each level (`random`).
    """
    distinct("treatments", config.treatments)
    chains = [arm for arm in config.treatments if arm not in CONTROLS]
    figures = [accuracy("treatments", "Tickets by what their pruned weights are held at")]
    if chains:
        shares = (Panel("moved_pruned", "pruned: moved towards 0 (%)", 100), Panel("moved_kept", "kept: moved towards 0 (%)", 100))
        caption = "Of the weights that trained in the run before: those that the round pruned, and those that it kept."
        figures.append(Figure("moved", "Share of weights that moved towards 0", shares, arms=tuple(chains), caption=caption))
    return Study(
        name="zhou2019.mask0",
        config=config,
        cells=tuple(
            cell for replicate in range(config.replicates) for cell in rows(config.treatments, replicate, partial(_arm, config, replicate))
        ),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms={arm: ARMS[arm] for arm in config.treatments},
        figures=tuple(figures),
    )


def _arm(config: Mask0, replicate: int, arm: str) -> list[Run]:
    dense = tickets(config, replicate, levels=0)[0]
    if arm not in CONTROLS:
        return _chain(config, dense, arm)
    v1 = _chain(config, dense, "v1")
    return [dense, *(run.but(pruned=_control(run, arm, level)) for level, run in enumerate(v1[1:], 1))]


def _chain(config: Mask0, dense: Run, arm: str) -> list[Run]:
    pruning, weights = config.pruning, dense.at(config.pruning.rewind)
    back = Action(name="rewind", of=(weights,))
    chain = [dense]
    for _ in range(config.levels):
        last = chain[-1]
        zeroed = Action(name="zero_moved", of=(weights, last.at(pruning.prune_at)))
        pruned = {"zero": None, "freeze": back, "v1": zeroed, "v2": zeroed}[arm]
        mask = pruned_mask(pruning, dense, last)
        chain.append(dense.but(mask=mask, kept=zeroed if arm == "v2" else back, pruned=pruned, begin=pruning.rewind))
    return chain


def _control(run: Run, arm: str, level: int) -> Action:
    """What the weights that V1 prunes are held at instead."""
    assert run.pruned is not None
    drawn = {"stream": f"zeroed/{level}"} if arm == "random" else {}
    return run.pruned.but(options={"moved": arm, **drawn})


def measure(config: Mask0, cell: Cell, results: Results) -> Row:
    """The metrics of a run, and how many of the weights that trained before it moved towards 0."""
    row: Row = {**measure_run(cell, results), "moved_kept": np.nan, "moved_pruned": np.nan}
    if cell.run.mask is None:
        return row
    last = cell.run.mask.of[1].run
    initial = results[Run(task=cell.run.task, seed=cell.run.seed)].weights(config.pruning.rewind)
    final, before, now = results[last].weights(config.pruning.prune_at), results[last].weights("mask"), results[cell.run].weights("mask")
    towards = {path: abs(final[path]) < abs(initial[path]) for path in now}
    groups = {"moved_kept": now, "moved_pruned": {path: before[path] & ~now[path] for path in now}}
    for name, group in groups.items():
        chosen = np.concatenate([towards[path][group[path]] for path in now])
        row[name] = float(chosen.mean()) if chosen.size else np.nan
    return row


def claims(config: Mask0, table: "pd.DataFrame") -> list[Verdict]:
    """ZHOU-C3, C4 and C5 on the table of the study."""
    return [_c3(config, table), _c4(config, table), _c5(table)]


def _effect(
    name: str, table: "pd.DataFrame", better: str, worse: str, high: float, plus: float = 0, note: str = "", decides: bool = True
) -> Effect:
    lacking = [arm for arm in (better, worse) if arm not in set(table.arm)]
    levels = [] if lacking else levels_within(table, 0, high)
    values = 100 * difference(table, "acc_es", better, worse, levels) + plus
    note = f"not among the treatments: {lacking[0]}" if lacking else note
    return effect_over_levels(f"{name}, at {100 * high:g} % or less", "pp", values, table, note=note, decides=decides)


def _c3(config: Mask0, table: "pd.DataFrame") -> Verdict:
    convolutional = "conv" in config.task.rates and config.task.model.name != "mlp"
    note = "" if convolutional else "said of convolutional networks; on small fully connected ones the reverse was found"
    effect = _effect("zero above frozen", table, "zero", "freeze", 0.22, note=note, decides=convolutional)
    sentence = "Holding pruned weights at their initial values is worse than holding them at zero."
    return Verdict("ZHOU-C3", sentence, f"{SOURCE}, section 4", (effect,))


def _c4(config: Mask0, table: "pd.DataFrame") -> Verdict:
    allowed, sparse = margin(config.task, config.margin), 0.06
    controls = [_effect(f"V1 above '{ARMS[arm]}'", table, "v1", arm, sparse, note="control", decides=False) for arm in CONTROLS]
    effects = (
        _effect(f"V1 less than {allowed:g} pp below zero, by", table, "v1", "zero", sparse, allowed),
        _effect(f"V2 less than {allowed:g} pp below V1, by", table, "v2", "v1", sparse, allowed),
        _effect("V2 above zero", table, "v2", "zero", sparse),
        *controls,
    )
    sentence = (
        "At high sparsity zeroing only what moved towards 0 is no worse than zeroing all, and doing so to kept weights too is better."
    )
    return Verdict("ZHOU-C4", sentence, f"{SOURCE}, section 4", effects)


def _c5(table: "pd.DataFrame") -> Verdict:
    effects = []
    for arm in ("zero", *(arm for arm in ("freeze", "v1", "v2") if arm in set(table.arm))):
        pruned, kept = (100 * by_replicate(table, metric, arm) for metric in ("moved_pruned", "moved_kept"))
        gap = at_levels(pruned - FAR * kept, levels_within(table, 0, 1))
        note = "not among the treatments: zero" if gap.empty else f"{pruned.mean().mean():.1f} % and {kept.mean().mean():.1f} %"
        name = f"{ARMS[arm]}: more than {FAR} times the share of kept weights, by"
        effects.append(effect_over_levels(name, "pp", gap, table, note=note, decides=arm == "zero"))
    sentence = "Pruned weights have moved towards 0 far more often than kept ones."
    note = f"Partly circular: weights are pruned because they end small. That far more is more than {FAR} times is our choice."
    return Verdict("ZHOU-C5", sentence, f"{SOURCE}, section 4", tuple(effects), note)
