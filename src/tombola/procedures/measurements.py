"""Kinds of measurement: which networks are made from the parents, and what is read off them. One function each.

A kind takes a `Context`, its parents in order, and its options; it returns what is to be evaluated and how the answer
is read. Randomness comes from the named streams of the measurement's own seed alone.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.parts import measurements as measurements
from tombola.core.trees import Tree
from tombola.evaluation.barrier import places
from tombola.evaluation.similarity import cosine, distance, overlap
from tombola.evaluation.weight_combinations import PARTS, Part, Scores, WeightCombinations
from tombola.models.network import Network
from tombola.procedures.actions import Context as Context
from tombola.procedures.measurement import BatchNorm, check_options
from tombola.procedures.transplants import By, orders_of
from tombola.surgery.permute import permute

EQUAL = (
    "the two networks of a path are equal, so the way between them says nothing; "
    "train them under different SGD noise that the task has (data_order; augmentation or dropout where it uses them)"
)


class Query(NamedTuple):
    """Networks to be evaluated, and what their scores come to."""

    networks: WeightCombinations
    read: Callable[[Mapping[Part, Scores]], dict[str, np.ndarray]]
    """Scores -> named arrays."""
    parts: tuple[Part, ...] = PARTS


class Loop(NamedTuple):
    """A measurement that looks at networks step by step, each at those that the steps before call for; it can be stopped between two."""

    first: Callable[[], dict[str, np.ndarray]]
    """The state that it begins with: named arrays."""
    advance: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
    """One step. Randomness comes from the measurement's streams and its place in them from the state: one that goes on ends the same."""
    share: Callable[[Mapping[str, np.ndarray]], float]
    """How much is done; 1: all."""
    query: Callable[[Mapping[str, np.ndarray]], Query]
    """The last state -> what is evaluated in the end, and read."""


def in_one_step(ask: Callable[[], Query]) -> Loop:
    """A measurement whose networks take long to make: nothing of it is done where it is asked for only to see whether it can be."""
    return Loop(
        lambda: {"done": np.zeros(())}, lambda state: {"done": np.ones(())}, lambda state: float(state["done"]), lambda state: ask()
    )


@measurements.register
def path(
    context: Context,
    first: Tree,
    second: Tree,
    start: Tree | None = None,
    initial: Tree | None = None,
    mask: Tree | None = None,
    *,
    points: int = 30,
    batch_norm: BatchNorm = "recompute",
    train: int | None = None,
    matched: bool | By = False,
) -> Query:
    """The line from one network to another, W(a) = a W_first + (1 - a) W_second, and how alike its ends are.

    Args:
        start: what both were trained from: distance travelled since.
        initial: the initialisation: distance travelled since.
        mask: weights that are pruned count as 0 in `start` and `initial`.
        points: evenly spaced a from 0 to 1, ends included; the middle is evaluated too.
        train: training examples to evaluate on; None: all.
        matched: whether the second network's units are permuted to match the first one's before: true or `weights`, by weights;
            `activations`, by what units give on training examples.

    Gives: `a` (P,); `train_error`, `test_error` (P,), the objective's headline; `train_loss`, `test_loss` (P,); `train_own`,
    `test_own` (2,), errors of first and second with their own statistics; `train_disagreement`, `test_disagreement`;
    `train_chance`, `test_chance`, that of the best constant answer; `train_examples`, `test_examples`, their numbers;
    `distance`, `cosine` of the trainable weights; `since_start`, `since_initial` (2,), distances travelled.
    """
    check_options(batch_norm, train)
    trainable = _different(context.network, first, second)
    if matched:
        by: By = "weights" if matched is True else matched
        second = permute(second, context.network.units, orders_of(context, first, second, by))
    a = places(points)
    shares = np.stack([a, 1 - a], axis=1)
    renewed = bool(context.network.running) and batch_norm == "recompute"
    # With statistics of their own, beside the path's: else they are the path's ends.
    shares = np.concatenate([shares, np.eye(2)]) if renewed else shares
    own = [len(a), len(a) + 1] if renewed else [len(a) - 1, 0]
    networks = WeightCombinations(context.seed, (first, second), shares, np.arange(len(shares)) < len(a) * renewed, train)
    found = {
        "a": a,
        "distance": np.array(distance(first, second, trainable)),
        "cosine": np.array(cosine(first, second, trainable)),
        **_travelled("since_start", start, first, second, trainable, mask),
        **_travelled("since_initial", initial, first, second, trainable, mask),
    }

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        read_off = dict(found)
        for part, of in scores.items():
            read_off[f"{part}_error"], read_off[f"{part}_loss"] = of.error[: len(a)], of.loss[: len(a)]
            read_off[f"{part}_own"] = of.error[own]
            read_off[f"{part}_disagreement"] = np.array(of.disagreement(*own))
            read_off |= facts(part, of)
        return read_off

    return Query(networks, read)


def _different(network: Network, first: Tree, second: Tree) -> list[str]:
    """The trainable leaves. Raises if the two networks are equal in them."""
    trainable = [leaf for leaf in network.shapes if leaf in network.trainable]
    if not distance(first, second, trainable):
        raise TombolaError(EQUAL)
    return trainable


def facts(part: Part, scores: Scores) -> dict[str, np.ndarray]:
    """How many examples there are, and the headline of the best constant answer."""
    return {f"{part}_examples": np.array(len(scores.targets)), f"{part}_chance": np.array(scores.chance)}


def _travelled(name: str, before: Tree | None, first: Tree, second: Tree, trainable: list[str], mask: Tree | None) -> dict[str, np.ndarray]:
    if before is None:
        return {}
    kept = {leaf: before[leaf] * mask[leaf] if mask and leaf in mask else before[leaf] for leaf in trainable}
    return {name: np.array([distance(kept, after, trainable) for after in (first, second)])}


@measurements.register
def classes(context: Context, weights: Tree, *, part: Part = "test") -> Query:
    """What a classifier makes of the examples of each class.

    Args:
        part: `test`, `validation` or `train`.

    Gives: `confusion` (classes, classes), how many examples of a class (row) it puts into a class (column); `loss`, `error`, the
    objective's headline.
    """
    if part not in get_args(Part):
        raise unknown("part of the data", part, get_args(Part))
    if context.network.data.classes is None:
        raise TombolaError("the network puts nothing into classes, as its targets are none; classes are those of a classification")

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        found = scores[part]
        return {"confusion": found.confusion[0], "loss": found.loss[0], "error": found.error[0]}

    return Query(WeightCombinations(context.seed, (weights,)), read, (part,))


@measurements.register
def masks(context: Context, first: Tree, first_mask: Tree, second: Tree, second_mask: Tree, *, by: By = "activations") -> Query:
    """How much the masks of two networks overlap (`similarity.overlap`), and how much with the second's units in the order of the first's.

    Args:
        by: as the mask action `matched` has it.

    Gives: `overlap`, `aligned`, and `test_error` (1,), the first network's.
    """
    moved = permute(second_mask, context.network.units, orders_of(context, first, second, by))
    found = {name: np.array(overlap(first_mask, other)) for name, other in (("overlap", second_mask), ("aligned", moved))}
    networks = WeightCombinations(context.seed, (first,))
    return Query(networks, lambda scores: {**found, "test_error": scores["test"].error}, ("test",))


@measurements.register
def layers(
    context: Context, first: Tree, second: Tree, *, points: int = 30, batch_norm: BatchNorm = "recompute", train: int | None = None
) -> Query:
    """Lines on which one layer moves and the others stay: layer l is a W_first + (1 - a) W_second, the rest W_first.

    Gives: `a` (P,); `train_ends`, `test_ends` (2,), errors of first and second on the same terms; `train_own`, `test_own`
    (2,), with their own statistics; `train_examples`, ... as `path` does; and of each layer, by its place and name such as
    ``000/hidden1``: `distance/...`, the 2-norm between the two networks' layers, and `train_error/...`, `test_error/...` (P,).

    Source: Adilova et al. 2024, layer-wise linear mode connectivity.
    """
    check_options(batch_norm, train)
    trainable = _different(context.network, first, second)
    a, parts = places(points), context.network.layers
    shares = np.zeros((len(parts), len(a), 2, len(parts)))
    shares[:, :, 0] = 1
    for index in range(len(parts)):
        shares[index, :, :, index] = np.stack([a, 1 - a], axis=1)
    ends = np.repeat(np.eye(2)[:, :, None], len(parts), axis=2)
    shares = np.concatenate([shares.reshape(-1, 2, len(parts)), ends, ends])  # ends on the path's terms, and as they are
    recompute = (np.arange(len(shares)) < len(shares) - 2) & (batch_norm == "recompute")
    networks = WeightCombinations(context.seed, (first, second), shares, recompute, train)
    named = {f"{index:03d}/{layer.name}": layer for index, layer in enumerate(parts)}
    apart = {
        f"distance/{name}": np.array(distance(first, second, [leaf for leaf in layer.paths if leaf in trainable]))
        for name, layer in named.items()
    }

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        found = {"a": a, **apart}
        for part, of in scores.items():
            found |= {f"{part}_ends": of.error[-4:-2], f"{part}_own": of.error[-2:], **facts(part, of)}
            by_layer = of.error[:-4].reshape(len(parts), len(a))
            found |= {f"{part}_error/{name}": errors for name, errors in zip(named, by_layer, strict=True)}
        return found

    return Query(networks, read)


@measurements.register
def plane(
    context: Context, first: Tree, second: Tree, third: Tree, *, grid: int = 21, margin: float = 0.3, train: int | None = None
) -> Query:
    """The error over the plane through three networks, statistics of batch norm computed anew.

    Coordinates are 2-norm distances over the trainable weights: the first network at (0, 0), the second at (x, 0), the
    third where it is. The grid reaches `margin` of its width beyond them on each side.

    Gives: `x`, `y` (grid,); `train_error`, `test_error` (grid, grid), by y and x; `networks` (3, 2), their coordinates;
    `train_networks`, `test_networks` (3,), their errors.

    Source: Garipov et al. 2018, section 3.
    """
    trainable = [leaf for leaf in context.network.shapes if leaf in context.network.trainable]
    across, side = distance(first, second, trainable), distance(first, third, trainable)
    inner = (across**2 + side**2 - distance(second, third, trainable) ** 2) / 2  # <second - first, third - first>
    aside = inner / across if across else 0.0
    height = float(np.sqrt(max(side**2 - aside**2, 0.0)))
    if not across or height <= 1e-6 * side:
        raise TombolaError(
            "three networks span a plane only if none is on the line through the other two; take others, such as a third child"
        )
    corners = np.array([[0, 0], [across, 0], [aside, height]])
    low, high = corners.min(0), corners.max(0)
    x, y = (np.linspace(low[axis] - margin * (high - low)[axis], high[axis] + margin * (high - low)[axis], grid) for axis in (0, 1))
    third_share = np.repeat(y / height, grid)
    second_share = (np.tile(x, grid) - third_share * aside) / across
    shares = np.stack([1 - second_share - third_share, second_share, third_share], axis=1)
    shares = np.concatenate([shares, np.eye(3)])
    networks = WeightCombinations(context.seed, (first, second, third), shares, np.ones(len(shares), bool), train)

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        errors = {f"{part}_error": of.error[:-3].reshape(grid, grid) for part, of in scores.items()}
        own = {f"{part}_networks": of.error[-3:] for part, of in scores.items()}
        return {"x": x, "y": y, "networks": corners, **errors, **own}

    return Query(networks, read)
