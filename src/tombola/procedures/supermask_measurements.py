"""Kinds of measurement that ask what a mask alone is worth: networks whose weights were never trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.task import Supermask
from tombola.core.trees import Tree
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.models.network import Network
from tombola.models.supermask import DRAWN, chosen, effective, probabilities, sampled
from tombola.procedures.actions import Order, prune_round
from tombola.procedures.measurements import Context, Query, facts, measurements
from tombola.pruning import criteria, selection
from tombola.pruning.pruning import Pruning
from tombola.surgery.combine import combine
from tombola.surgery.values import constant

PICTURE, REACH = 25, 3.0
"""Bins a side of the picture of a mask, and how far it reaches, in standard deviations of the layer's initialiser."""


@measurements.register
def heuristic_supermasks(
    context: Context,
    initial: Tree,
    final: Tree,
    *,
    rounds: int,
    ties: Order = "position",
    pictured: Sequence[int] = (),
    **options: Any,
) -> Query:
    """Untrained networks under one-shot masks of a trained one: m_l * W_0, and m_l * a sign(W_0).

    m_0 keeps everything; m_l is what l rounds leave of the ranking of W_0 and W_T by the criterion, all at once: nothing
    is trained in between. a is the standard deviation of the layer's initialiser.

    Args:
        initial, final: W_0 and W_T.
        rounds: L; there are L + 1 masks.
        ties: as of the mask action `prune`.
        pictured: rounds of which the mask is shown in the plane of initial and final values.
        options: those of `Pruning.options`, of single weights.

    Gives: `density` (L + 1,); `init_acc`, `constant_acc`, `init_validation_acc`, `constant_validation_acc` (L + 1,), shares (another
    objective's headline is called by its own name in place of `acc`);
    `picture/L` (25, 25), the share of the weights there that the mask keeps, by final and initial value in bins from -3 to 3
    standard deviations of the layer's initialiser (values beyond count as on the edge), NaN where there are none; `test_chance`.

    Source: Zhou et al. 2019, section 5.
    """
    network, pruning = context.network, Pruning(**options)
    learnt = all(np.isfinite(leaf).all() for leaf in final.values())  # else masks have the right counts alone, and networks are NaN
    found: list[Mask] = [selection.dense({path: network.shapes[path].shape for path in network.prunable})]
    scores = {path: criteria.scores(pruning.criterion, initial[path], (final if learnt else initial)[path]) for path in found[0]}
    for _ in range(rounds):
        found.append(prune_round(context, scores, found[-1], pruning, ties))
    networks = [combine(mask, values) for values in (initial, constant(network, initial)) for mask in found]
    if not learnt:
        networks = [{path: np.full_like(leaf, np.nan) for path, leaf in one.items()} for one in networks]
    pictures = {f"picture/{level}": picture(network, initial, final, found[level]) for level in pictured}

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        column = scores["test"].objective.columns[1]
        shown, validation = (scores[part].shown.reshape(2, -1) for part in ("test", "validation"))
        columns = {f"init_{column}": shown[0], f"constant_{column}": shown[1]}
        columns |= {f"init_validation_{column}": validation[0], f"constant_validation_{column}": validation[1]}
        density = np.array([masks.density(mask) for mask in found])
        return {"density": density, **columns, **pictures, **facts("test", scores["test"])}

    return Query(WeightCombinations(context.seed, tuple(networks)), read, ("validation", "test"))


@measurements.register
def learnt_supermask(context: Context, *snapshots: Tree, supermask: dict[str, Any], samples: int = 10) -> Query:
    """A mask that was learnt, at K steps on its way: the plain network under it.

    Args:
        snapshots: weights and scores at K steps, the last one's masks also drawn `samples` times.
        supermask: what the recipe calls so.
        samples: n masks, from the streams ``supermask/sample/0``, ``.../1``, ...

    Gives: `threshold_acc`, `threshold_loss` (K,), of the mask that the scores come to; `expected_acc` (K,), of the network
    with w E[b] r; `sampled_acc`, `sampled_loss` (n,), of the last step (one that equals the threshold's where a method draws
    nothing); `density` (K,), the share that a drawn mask keeps on average; `layer_density` (K, prunable leaves);
    `threshold_density` (K,); `test_chance`.

    Source: Zhou et al. 2019, section 5.
    """
    if samples < 1:
        raise TombolaError(f"samples = {samples}: a mean over at least 1 drawn mask is needed")
    if not snapshots:
        raise TombolaError("measurement 'learnt_supermask' looks at a run's steps; name at least one")
    spec = Supermask(**supermask)
    hard = [chosen(spec, tree) for tree in snapshots]
    soft: list[Mapping[str, np.ndarray]] = [probabilities(tree) for tree in snapshots] if spec.method in DRAWN else list(hard)
    draws = [sampled(spec, snapshots[-1], context.seed, f"supermask/sample/{index}") for index in range(samples)]
    networks = [effective(spec, tree, mask) for tree, mask in zip(snapshots, hard, strict=True)]
    networks += [effective(spec, tree, mask) for tree, mask in zip(snapshots, soft, strict=True)]
    networks += [effective(spec, snapshots[-1], mask) for mask in draws]
    steps = len(snapshots)

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        shown, loss, column = scores["test"].shown, scores["test"].loss, scores["test"].objective.columns[1]
        return {
            f"threshold_{column}": shown[:steps],
            "threshold_loss": loss[:steps],
            f"expected_{column}": shown[steps : 2 * steps],
            f"sampled_{column}": shown[2 * steps :],
            "sampled_loss": loss[2 * steps :],
            "density": np.array([_share(mask) for mask in soft]),
            "layer_density": np.array([[float(np.abs(leaf).mean()) for leaf in mask.values()] for mask in soft]),
            "threshold_density": np.array([_share(mask) for mask in hard]),
            **facts("test", scores["test"]),
        }

    return Query(WeightCombinations(context.seed, tuple(networks)), read, ("test",))


def picture(network: Network, initial: Tree, final: Tree, mask: Mask) -> np.ndarray:
    """(25, 25): the share of weights that a mask keeps, by final (rows) and initial value (columns), as `heuristic_supermasks` says."""
    counts, kept = np.zeros((PICTURE, PICTURE)), np.zeros((PICTURE, PICTURE))
    edges = np.linspace(-REACH, REACH, PICTURE + 1)
    for path, leaf in mask.items():
        scale = network.std(path) or 1.0
        last, first = (np.clip(np.asarray(tree[path]).reshape(-1) / scale, -REACH, REACH) for tree in (final, initial))
        counts += np.histogram2d(last, first, bins=[edges, edges])[0]
        kept += np.histogram2d(last, first, bins=[edges, edges], weights=leaf.reshape(-1).astype(float))[0]
    return np.divide(kept, counts, out=np.full_like(kept, np.nan), where=counts > 0)


def _share(mask: Mapping[str, np.ndarray]) -> float:
    return float(sum(np.abs(leaf).sum(dtype=np.float64) for leaf in mask.values()) / masks.size(mask))
