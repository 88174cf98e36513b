"""Winning tickets against their controls, over density (sections 2 and 3, figures 3 to 5)."""

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from tombola.evaluation.paired import at_levels, by_replicate, difference, effect_over_levels, levels_within, sooner
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Panel, Scale, Study, study
from tombola.studies.frankle2019.common import (
    ACC_ES,
    ACC_FINAL,
    ES,
    METRICS,
    SOURCE,
    TRAIN_ACC,
    Pruned,
    against_dense,
    censoring,
    measure,
    reaches_sooner,
    stops_sooner,
)
from tombola.studies.tickets import randomly_masked, reinitialised, tickets

if TYPE_CHECKING:
    import pandas as pd


class Sparsity(Pruned):
    """Iterative magnitude pruning, with controls at every level."""

    reinits: Annotated[int, Field(ge=0)] = 1
    """Fresh random initialisations of each ticket's mask."""
    random_masks: Annotated[int, Field(ge=0)] = 1
    """Random masks at each level, with the ticket's count in each layer."""


def _configure(scale: Scale, task: str) -> Sparsity:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2},
        "small": {"replicates": 8, "levels": 13},
        "paper": {"replicates": 8, "levels": 20, "reinits": 3},
    }
    return Sparsity(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.sparsity",
    answers="Do winning tickets exist, how small, and is it their initialisation that makes them win?",
    claims=("LTH-C1", "LTH-C2", "LTH-C3", "LTH-C4", "LTH-C7", "LTH-C23"),
    task="mnist1d-mlp",
    configure=_configure,
)
def sparsity(config: Sparsity) -> Study:
    """Iterative pruning, and what becomes of its tickets when their initialisation or their mask is replaced.

    Figures 3 and 4 and appendix figures of the paper: early stopping, accuracy and generalisation against density.
    """
    cells = tuple(cell for replicate in range(config.replicates) for cell in _replicate_cells(config, replicate))
    every = config.task.recipe.evaluate_every
    return Study(
        name="frankle2019.sparsity",
        config=config,
        cells=cells,
        metrics=METRICS,
        keep={cell.run: ("end",) for cell in cells if cell.arm == "ticket"},  # a winning ticket is there to be exported
        measure=measure,
        claims=claims,
        arms={"ticket": "winning ticket", "reinit": "same mask, fresh init", "random": "random mask"},
        figures=(
            Figure(
                name="sparsity",
                title="Speed and accuracy against density",
                panels=(ES, ACC_ES, ACC_FINAL),
                caption=f"Early stop: iteration of minimum validation loss, evaluated every {every}. As the paper's figures 3 to 5.",
            ),
            Figure(
                name="generalisation",
                title="Training and test accuracy after the last iteration",
                panels=(TRAIN_ACC, ACC_FINAL),
                caption="As the paper's figure 4 and its appendix: a smaller gap at equal training accuracy is better generalisation.",
            ),
            Figure(
                name="curves",
                title="Learning curves of winning tickets",
                kind="curves",
                panels=(Panel("test_acc", "test accuracy (%)", 100), Panel("val_loss", "validation loss (nats)", log=True)),
                arms=("ticket",),
                levels=tuple(level for level in (0, 3, 7, 10, 13, 16, 20) if level <= config.levels),
                caption="Mean over replicates at chosen densities, as the paper's figure 3.",
            ),
        ),
    )


def _replicate_cells(config: Sparsity, replicate: int) -> list[Cell]:
    chain = tickets(config, replicate)
    cells = [Cell("ticket", replicate, level, run) for level, run in enumerate(chain)]
    for level, ticket in enumerate(chain[1:], start=1):
        cells += [Cell("reinit", replicate, level, reinitialised(ticket, level, draw), draw) for draw in range(config.reinits)]
        cells += [
            Cell("random", replicate, level, randomly_masked(config, ticket, level, draw), draw) for draw in range(config.random_masks)
        ]
    return cells


# -- claims ---------------------------------------------------------------------------------------------------------
# The levels of each are fixed here, beforehand, by density: never by what came out.


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C1, C2, C3, C4, C7 and C23 on the table of the study."""
    return [_c1(table), _c2(table), _c3(table), _c4(table), _c7(table), _c23(table)]


def _c1(table: "pd.DataFrame") -> Verdict:
    es = by_replicate(table, "es_iteration", "ticket").clip(lower=1)
    falls = stops_sooner(table, "ticket", levels_within(table, 0.18, 0.25))
    rises = _rise(es, levels_within(table, 0.18, 0.25), levels_within(table, 0, 0.065))
    effects = (
        effect_over_levels(
            "early stop sooner at about 21 % than dense", "log2 ratio", falls, table, note="the paper: 38 % sooner, 0.69 in log2"
        ),
        effect_over_levels("early stop later again below 6.5 % than at about 21 %", "log2 ratio", rises, table),
        reaches_sooner(table, "ticket", levels_within(table, 0.18, 0.25)),
    )
    sentence = "The early-stopping iteration falls as density goes from 100 to 21 %, then rises again."
    return Verdict("LTH-C1", sentence, f"{SOURCE}, section 2, figure 4a", effects, censoring(table, "ticket"))


def _c2(table: "pd.DataFrame") -> Verdict:
    accuracy = 100 * by_replicate(table, "acc_es", "ticket")
    hill = against_dense(accuracy, levels_within(table, 0.12, 0.15), lambda dense, sparse: sparse - dense)
    back = against_dense(accuracy, levels_within(table, 0, 0.05), lambda dense, sparse: sparse - dense)
    effects = (
        effect_over_levels("ticket at about 13.5 % above dense", "pp", hill, table, note="the paper: more than +0.3 pp"),
        effect_over_levels("ticket at 5 % or less above dense", "pp", back, table, decides=False, note="the paper: back at dense at 3.6 %"),
    )
    sentence = "Test accuracy at early stop rises above that of the dense network as weights are pruned."
    return Verdict("LTH-C2", sentence, f"{SOURCE}, section 2, figure 4b", effects)


def _c3(table: "pd.DataFrame") -> Verdict:
    levels = levels_within(table, 0, 0.22)
    accuracy = 100 * difference(table, "acc_es", "ticket", "reinit", levels)
    speed = sooner(table, "iters_to_1p5x", "ticket", "reinit", levels)
    es = np.log2(by_replicate(table, "es_iteration", "reinit").clip(lower=1) / by_replicate(table, "es_iteration", "ticket").clip(lower=1))
    at_21 = at_levels(es, levels_within(table, 0.18, 0.25))
    effects = (
        effect_over_levels("accuracy at early stop, ticket - re-init, at 22 % or less", "pp", accuracy, table),
        effect_over_levels(
            "ticket reaches 1.5x the dense minimum of validation loss first, at 22 % or less", "won - lost, share of pairs", speed, table
        ),
        effect_over_levels(
            "early stop sooner, re-init / ticket, at about 21 %",
            "log2 ratio",
            at_21,
            table,
            decides=False,
            note=f"the paper: 2.51 times sooner, 1.33 in log2; {censoring(table, 'ticket')}, {censoring(table, 'reinit')}",
        ),
    )
    sentence = "The same mask with a fresh random initialisation learns slower and is less accurate at once."
    return Verdict("LTH-C3", sentence, f"{SOURCE}, section 2, figure 4", effects)


def _c4(table: "pd.DataFrame") -> Verdict:
    gap = 100 * (by_replicate(table, "train_acc_final", "ticket") - by_replicate(table, "acc_final", "ticket"))
    levels = levels_within(table, 0.12, 0.55)
    smaller = against_dense(gap, levels, lambda dense, sparse: dense - sparse)
    final, train = (100 * by_replicate(table, metric, "ticket") for metric in ("acc_final", "train_acc_final"))
    better, learnt = (against_dense(values, levels, lambda dense, sparse: sparse - dense) for values in (final, train))
    whole = f"the paper: about 100 % both; here the dense network has {train[0].mean():.1f} %"
    name = "at the end, ticket - dense, at 55 to 12 %"
    effects = (
        effect_over_levels("gap of training and test accuracy, dense - ticket, at 55 to 12 %", "pp", smaller, table),
        effect_over_levels(f"test accuracy {name}", "pp", better, table, note="the paper: up to +0.35 pp"),
        effect_over_levels(f"training accuracy {name}", "pp", learnt, table, decides=False, note=whole),
    )
    sentence = "After the last iteration winning tickets generalise better: higher test accuracy, and a smaller gap to training accuracy."
    return Verdict("LTH-C4", sentence, f"{SOURCE}, section 2 and appendix", effects)


def _c7(table: "pd.DataFrame") -> Verdict:
    levels = levels_within(table, 0, 0.105)
    moderate = levels_within(table, 0.2, 0.5)
    pairs = (("ticket", "reinit", "ticket - re-init"), ("reinit", "random", "re-init - random mask"))
    effects: list[Effect] = []
    for better, worse, name in pairs:
        values = 100 * difference(table, "acc_es", better, worse, levels)
        effects.append(effect_over_levels(f"accuracy at early stop, {name}, at 10.5 % or less", "pp", values, table))
    for better, worse, name in pairs:
        values = 100 * difference(table, "acc_es", better, worse, moderate)
        note = "not claimed there"
        effects.append(effect_over_levels(f"{name}, at 50 to 20 %", "pp", values, table, decides=False, note=note))
    sentence = "At small density a winning ticket beats its re-initialisation, which beats a random mask of equal counts per layer."
    return Verdict("LTH-C7", sentence, f"{SOURCE}, section 5 and appendix", tuple(effects))


def _c23(table: "pd.DataFrame") -> Verdict:
    sparse, moderate = levels_within(table, 0, 0.105), levels_within(table, 0.2, 0.7)
    near = difference(table, "acc_es", "ticket", "reinit", moderate)
    far = difference(table, "acc_es", "ticket", "reinit", sparse)
    growth = 100 * far.sub(near.mean(axis=1), axis=0) if near.shape[1] else far.iloc[:, :0]
    name = "gap ticket - re-init in accuracy at early stop, at 10.5 % or less minus its mean at 70 to 20 %"
    sentence = "The gap between winning ticket and re-initialisation grows with sparsity."
    return Verdict("LTH-C23", sentence, f"{SOURCE}, figures 4 and 5", (effect_over_levels(name, "pp", growth, table),))


def _rise(es: "pd.DataFrame", valley: list[int], sparse: list[int]) -> "pd.DataFrame":
    if not valley or not sparse:
        return es.iloc[:, :0]
    return np.log2(es[sparse].div(es[valley].mean(axis=1), axis=0))
