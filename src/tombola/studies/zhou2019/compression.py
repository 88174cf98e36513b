"""What a network takes as bytes: all its weights, a ticket's, or a seed and the bits of a mask (section 5)."""

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Count
from tombola.core.trees import Tree
from tombola.evaluation.paired import effect_of
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Run
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.tickets import Levels, Positive, PruningConfig, Share, distinct, tickets
from tombola.studies.zhou2019.trained import ARMS as LEARNT
from tombola.studies.zhou2019.trained import LEARNERS, MASK_RATES, Learner, Trained, learning

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("bytes", "dense_bytes", "bits_per_weight", "mask_bytes", "entropy_bytes", "stored_values", "rebuilt", "acc_final", "val_acc")
ARMS = {"dense": "trained weights", "ticket": "winning ticket, trained", "untrained": "ticket at its start: seed + mask"}
ALLOWED = 99.0
"""Share of the networks, in per cent, that must be rebuilt from seed and mask alone: any that is not counts against the claim."""


class Compression(PruningConfig):
    """Trained networks, tickets and learnt masks, each as few bytes as it takes."""

    chosen = {"rewind": "only initial values follow from a seed; leave it at '0it'"}

    levels: Levels = 16
    """Rounds of pruning after the dense run."""
    densities: dict[Learner, Annotated[tuple[Share, ...], Field(min_length=1)]] = {
        "rescaled": (0.5,),
        "signed": (0.5, 0.1),
        "edge_popup": (0.5, 0.2, 0.1, 0.05),
    }
    """How masks over signed constants are learnt, as in `zhou2019.trained`, and the share of the weights that is kept: at the
    start of training, and of `edge_popup` all along."""
    mask_rates: dict[Learner, Positive] = MASK_RATES
    """As in `zhou2019.trained`."""
    mask_steps: Step = Step("5000it")
    """Length of the training of masks."""
    mask_batch: Count = 250


def _configure(scale: Scale, task: str) -> Compression:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2, "mask_steps": "60it"},
        "small": {},
        "paper": {"levels": 24, "mask_steps": "2000ep"},
    }
    return Compression(task=named_task(task, scale), **by_scale[scale])


@study(
    "zhou2019.compression",
    answers="How many bytes does a network take if its mask, or all but its mask, follows from a seed?",
    claims=("ZHOU-C8",),
    task="mnist1d-mlp",
    configure=_configure,
)
def compression(config: Compression) -> Study:
    """Trained networks and tickets, tickets at their start, and learnt masks: accuracy against bytes."""
    for learner, densities in config.densities.items():
        distinct(f"densities: {learner}", densities)
        if learner not in config.mask_rates:
            raise TombolaError(f"mask_rates: {learner!r} has none; give a number for each of {', '.join(config.densities)}")
    places = [(arm, density) for arm, densities in config.densities.items() for density in densities]
    cells: list[Cell] = []
    keep: dict[Run, tuple[str, ...]] = {}
    for replicate in range(config.replicates):
        chain = tickets(config, replicate)
        cells.append(Cell("dense", replicate, 0, chain[0]))
        cells += [Cell(arm, replicate, level, run) for arm in ("ticket", "untrained") for level, run in enumerate(chain) if level]
        masks = [learnt(config, arm, density, replicate) for arm, density in places]
        cells += [Cell(arm, replicate, 0, run, variant=str(density)) for (arm, density), run in zip(places, masks, strict=True)]
        keep |= {chain[0]: ("0it", "end"), **dict.fromkeys([*chain[1:], *masks], ("end",))}
    accuracy = Panel("acc_final", "test accuracy (%)", 100)
    return Study(
        name="zhou2019.compression",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        keep=keep,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms={**ARMS, **{arm: f"{LEARNT[arm]}: seed + mask" for arm in config.densities}},
        variants={"": "trained and tickets", **{str(one): f"masks learnt from density {one:g}" for _, one in places}},
        figures=(
            Figure(
                "bytes",
                "Accuracy against bytes",
                (accuracy,),
                kind="scatter",
                across=Panel("bytes", "size (kB)", 1e-3, log=True),
                caption="Seed, mask and such values, as float32, as do not follow from the seed; without the description of the network. "
                "Every point is compressed and decompressed.",
            ),
            Figure(
                "masks",
                "Masks as bytes, against their entropy",
                (Panel("mask_bytes", "mask (kB)", 1e-3, log=True),),
                kind="scatter",
                across=Panel("entropy_bytes", "entropy (kB)", 1e-3, log=True),
                arms=("ticket", *config.densities),
                caption="Entropy: of a mask whose entries are drawn by themselves, at each layer's density.",
            ),
        ),
    )


def learnt(config: Compression, arm: Learner, density: float, replicate: int) -> Run:
    """The run that learns a mask over signed constants, the one of `zhou2019.trained`."""
    fields = {name: getattr(config, name) for name in ("task", "seed", "mask_rates", "mask_steps", "mask_batch")}
    return learning(Trained(**fields, learners=(arm,), densities={arm: density}), arm, "constant", replicate)


def measure(config: Compression, cell: Cell, results: Results) -> Row:
    """The columns of one network: how large it is when compressed, and whether it comes out of that bit for bit."""
    from tombola.core import masks
    from tombola.core.trees import equal
    from tombola.procedures.compressed import compress, decompress, sizes

    result, untrained = results[cell.run], cell.arm == "untrained"
    recipe = cell.run.task.recipe.but(supermask=None)
    network = results.setup(cell.run.task.but(recipe=recipe)).network
    weights, mask, origin = _network(config, cell, results)
    compressed = compress(network, origin, weights, mask)
    again, mask_again = decompress(network, compressed)
    size = sizes(network, compressed, mask)
    at = 0 if untrained else -1
    return {
        "density": masks.density(mask),
        "bytes": size.total,
        "dense_bytes": size.dense,
        "bits_per_weight": 32 * size.total / size.dense,
        "mask_bytes": size.mask + size.signs,
        "entropy_bytes": size.entropy,
        "stored_values": compressed.stored,
        "rebuilt": float(equal(again, weights) and equal(mask_again, mask)),
        "acc_final": result.shown("test", at),
        "val_acc": result.shown("val", at),
    }


def _network(config: Compression, cell: Cell, results: Results) -> tuple[Tree, Tree, Any]:
    """(weights, mask, what they may follow from) of a cell's network."""
    from tombola.procedures.compressed import Origin, plain
    from tombola.surgery.combine import combine

    result, run = results[cell.run], cell.run
    mask, weights = dict(result.weights("mask")), dict(result.weights("end"))
    factors: dict[str, float] = {}
    if cell.arm == "untrained":
        weights = combine(mask, results[tickets(config, cell.replicate)[0]].weights("0it"))
    elif run.task.recipe.supermask is not None:
        weights, mask, factors = plain(run.task.recipe.supermask, weights, mask)
    return weights, mask, Origin(run.seed, run.kept, run.pruned, factors)


def claims(config: Compression, table: "pd.DataFrame") -> list[Verdict]:
    """ZHOU-C8 on the table of the study."""
    alone = table[table.arm.isin(("untrained", *LEARNERS))]
    sound = 100 * ((alone.rebuilt == 1) & (alone.stored_values == 0)).groupby(alone.replicate).mean() - ALLOWED
    effects = [
        effect_of(
            f"networks rebuilt bit for bit from seed and mask, more than {ALLOWED:g} % of them, by",
            "pp",
            list(sound),
            note=f"{len(alone)} networks: tickets at their start, and learnt masks",
        )
    ]
    for arm in config.densities:
        effects += _against_dense(table, arm)
    sentence = "A seed and the bits of a mask rebuild the network bit for bit."
    note = "Learnt masks: at the density that does best on validation examples."
    return [Verdict("ZHOU-C8", sentence, "Zhou et al. 2019, section 5", tuple(effects), note)]


def _against_dense(table: "pd.DataFrame", arm: str) -> list[Effect]:
    """How much smaller than trained weights a learnt mask is, and what that costs in accuracy; nothing is claimed of it."""
    dense = table[table.arm == "dense"].set_index("replicate")
    best = table[table.arm == arm].sort_values("val_acc", ascending=False, kind="stable").groupby("replicate").first()
    ratio = np.log2(dense.dense_bytes / best.bytes)
    lost = 100 * (best.acc_final - dense.acc_final)
    said = f"{math.pow(2, ratio.mean()):.1f} times fewer" if len(ratio) else ""
    accuracies = f"{100 * best.acc_final.mean():.1f} % and {100 * dense.acc_final.mean():.1f} %" if len(lost) else ""
    return [
        effect_of(f"{LEARNT[arm]}: bytes of trained weights / of the mask", "log2 ratio", list(ratio), decides=False, note=said),
        effect_of(f"{LEARNT[arm]}: accuracy above trained weights by", "pp", list(lost), decides=False, note=accuracies),
    ]
