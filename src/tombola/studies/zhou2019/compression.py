"""What a network takes as bytes: all its weights, a ticket's, or a seed and the bits of a mask (section 5)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tombola.core.trees import Tree
from tombola.studies import Effect, Evidence, Figure, Panel, Results, Row, Run, Values, claim, study
from tombola.studies.tickets import Levels, PruningStudy, Several, Share, tickets
from tombola.studies.zhou2019.common import best
from tombola.studies.zhou2019.learning import ARMS, LEARNERS, Learner, MaskTraining

ALLOWED = 99.0
"""Share of the networks, in per cent, that must be rebuilt from seed and mask alone: any that is not counts against the claim."""

SIZE = (
    "Counted are the seed, the mask, and as float32 the values that do not follow from the seed, but not the description of the network. "
    "Every point was compressed and decompressed."
)


@study(
    "zhou2019.compression",
    task="mnist1d-mlp",
    answers="How many bytes does a network take if its mask, or all but its mask, follows from a seed?",
)
class Compression(MaskTraining, PruningStudy):
    """Trained networks and tickets, tickets at their start, and learnt masks: accuracy against bytes."""

    scales = {"smoke": {"replicates": 2, "levels": 2, "mask_steps": "60it"}, "paper": {"levels": 24, "mask_steps": "2000ep"}}
    columns = (
        "bytes", "dense_bytes", "bits_per_weight", "mask_bytes", "entropy_bytes", "stored_values", "rebuilt", "acc_final", "val_acc",
    )  # fmt: skip
    arms = {
        "dense": "trained weights",
        "ticket": "winning ticket, trained",
        "untrained": "ticket at its start: seed + mask",
        **{arm: f"{ARMS[arm]}: seed + mask" for arm in ("rescaled", "signed", "edge_popup", "learned")},
    }
    chosen = {"rewind": "only initial values follow from a seed; leave it at '0it'"}

    levels: Levels = 16
    """Rounds of pruning after the dense run."""
    densities: dict[Learner, Several[Share]] = {
        "rescaled": (0.5,),
        "signed": (0.5, 0.1),
        "edge_popup": (0.5, 0.2, 0.1, 0.05),
    }
    """How masks over signed constants are learnt, as in `zhou2019.trained`, each with the share of the weights that is kept: with
    `edge_popup` throughout, else at the start of training."""

    @property
    def variants(self) -> Mapping[str, str]:
        densities = [one for of_learner in self.densities.values() for one in of_learner]
        return {"": "trained and tickets", **{str(one): f"masks learnt from density {one:g}" for one in densities}}

    def rows(self) -> Iterable[Row]:
        """The dense network of each replicate, its tickets after and before training, and learnt masks."""
        self.has_all("mask_rates", self.densities)
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)
            yield Row("dense", replicate, 0, chain[0])
            for arm in ("ticket", "untrained"):
                yield from (Row(arm, replicate, level, run) for level, run in enumerate(chain) if level)
            for learner, densities in self.densities.items():
                for density in densities:
                    run = self.learning(learner, density, "constant", replicate)
                    yield Row(learner, replicate, 0, run, variant=str(density))

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        """Weights at the end, and of the dense run those at the start."""
        return {row.run: ("0it", "end") if row.arm == "dense" else ("end",) for row in rows}

    def measure(self, row: Row, results: Results) -> Values:
        """The columns of one network: how large it is when compressed, and whether it comes out of that bit for bit."""
        from tombola.core import masks
        from tombola.core.trees import equal
        from tombola.procedures.compressed import compress, decompress, sizes

        result, at = results[row.run], 0 if row.arm == "untrained" else -1
        recipe = row.run.task.recipe.but(supermask=None)
        network = results.setup(row.run.task.but(recipe=recipe)).network
        weights, mask, origin = self._network(row, results)
        compressed = compress(network, origin, weights, mask)
        again, mask_again = decompress(network, compressed)
        size = sizes(network, compressed, mask)
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

    def _network(self, row: Row, results: Results) -> tuple[Tree, Tree, Any]:
        """(weights, mask, what they may follow from) of a row's network."""
        from tombola.procedures.compressed import Origin, plain
        from tombola.surgery.combine import combine

        result, run = results[row.run], row.run
        mask, weights = dict(result.weights("mask")), dict(result.weights("end"))
        factors: dict[str, float] = {}
        if row.arm == "untrained":
            weights = combine(mask, results[tickets(self, row.replicate)[0]].weights("0it"))
        elif run.task.recipe.supermask is not None:
            weights, mask, factors = plain(run.task.recipe.supermask, weights, mask)
        return weights, mask, Origin(run.seed, run.kept, run.pruned, factors)

    def figures(self) -> Sequence[Figure]:
        learnt, accuracy = tuple(self.densities), (Panel("acc_final", "test accuracy (%)", 100),)
        size = Panel("bytes", "size (kB)", 1e-3, log=True)
        title = "Accuracy against bytes"
        alone = f"{title}, of what follows from a seed and a mask"
        return (
            Figure("bytes", title, accuracy, "scatter", across=size, arms=("dense", "ticket", *learnt), caption=SIZE),
            Figure("untrained", alone, accuracy, "scatter", across=size, arms=("untrained", *learnt), caption=SIZE),
        )

    @claim(
        "ZHOU-C8",
        "section 5",
        "A seed and the bits of a mask rebuild the network bit for bit.",
        note="Tickets are compressed as they start, and learnt masks at the density that does best on validation examples. Each "
        "network is compressed, rebuilt and compared: what is true of all of them has no interval.",
    )
    def seed_and_mask_suffice(self, table: Evidence) -> Iterable[Effect]:
        rows = table.table
        alone = rows[rows.arm.isin(("untrained", *LEARNERS))]
        rebuilt = (alone.rebuilt == 1) & (alone.stored_values == 0)
        lacks = f"all {len(alone)} networks are rebuilt: checked of each, not estimated" if len(alone) and rebuilt.all() else ""
        note = f"{rebuilt.sum()} of {len(alone)} networks"
        shares = 100 * rebuilt.groupby(alone.replicate).mean()
        found = table.effect("networks rebuilt bit for bit from seed and mask", "%", shares, least=ALLOWED, note=note, lacks=lacks)
        yield found if rebuilt.all() else replace(found, lacks="")  # a network that is not rebuilt counts without an interval, too
        dense = rows[rows.arm == "dense"].set_index("replicate")
        for arm in self.densities:
            found = best(rows[rows.arm == arm], "val_acc")
            ratio, lost = np.log2(dense.dense_bytes / found.bytes), 100 * (found.acc_final - dense.acc_final)
            said = f"{2 ** ratio.mean():.1f} times fewer" if len(ratio) else ""
            accuracies = f"{100 * found.acc_final.mean():.1f} % and {100 * dense.acc_final.mean():.1f} %" if len(lost) else ""
            yield table.effect(f"{ARMS[arm]}: bytes of trained weights / of the mask", "log2 ratio", ratio, judged=False, note=said)
            yield table.effect(f"{ARMS[arm]}: accuracy above trained weights", "pp", lost, judged=False, note=accuracies)
