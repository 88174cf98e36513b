"""Exact removal of dead units: from a network under a mask to a smaller one with the same outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.core import masks
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.task import Model, Task
from tombola.core.trees import Tree, replica, stack
from tombola.surgery.outputs import same_outputs

if TYPE_CHECKING:
    from tombola.models.network import Network
    from tombola.models.units import Units


@dataclass(frozen=True)
class Compact:
    """What is left of a network without its dead units."""

    sizes: dict[str, int]
    """Layer -> units left, in forward order."""
    weights: Tree
    mask: Mask | None
    kept: dict[str, np.ndarray]
    """Layer -> indices, in the layer as it was, of the units left."""


def compact(network: "Network", weights: Mapping[str, Any], mask: Mask | None = None) -> Compact:
    """Remove units that do not matter, until none is left; outputs in evaluation are equal to rounding.

    A connection is absent if its value is 0 and the mask, where there is one, has pruned it: a weight that is held at
    another value is present, and so is a kept one that happens to be 0.

    (a) A unit without outgoing connections is removed.
    (b) A unit without incoming connections, and without normalisation, is the constant relu(bias). If that is 0 the unit
        is removed. If not, and a dense layer with a bias reads it, the unit is removed and its share goes into that bias.
        What a convolution reads stays: next to the padding, a constant gives another sum than elsewhere.

    One unit of each layer stays. Under `mask`, the smaller network then trains as the larger one would (to rounding)
    where only (a) removed units, and (b) at a constant of 0 if no weight decay lifts the bias above 0; but dropout draws
    otherwise. It does not where a constant was folded: the unit's bias and outgoing weights would have gone on training,
    and now only the bias that holds their product does.

    Args:
        weights: of one replicate, at the values that it computes with.
        mask: to be given if the result is to be trained on.

    Raises:
        TombolaError: if the network declares no units, or if weights or mask are not its own.
    """
    from tombola.models.units import check_declared

    check_declared(network.units)
    _check(network, weights, mask)
    tree = {path: np.array(leaf, order="C") for path, leaf in weights.items()}
    present = {path: tree[path] != 0 for path in network.prunable}
    if mask is not None:
        present = {path: np.ascontiguousarray(leaf | mask[path]) for path, leaf in present.items()}
    alive = {one.layer: np.ones(one.count, bool) for one in network.units}
    biases = _biases(network)
    removed = True
    while removed:  # one pass would do if every module declared its layers in forward order
        unread = [_remove_unread(one, present, alive) for one in reversed(network.units)]
        constant = [_remove_constant(one, biases.get(one.outgoing), tree, present, alive) for one in network.units]
        removed = any(unread + constant)
    kept = {layer: np.flatnonzero(left) for layer, left in alive.items()}
    return Compact(
        sizes={layer: len(indices) for layer, indices in kept.items()},
        weights=_taken(tree, network.units, kept),
        mask=None if mask is None else _taken(mask, network.units, kept),
        kept=kept,
    )


def smaller(model: Model, sizes: Mapping[str, int]) -> Model:
    """The model with the given numbers of units in the layers that `compact` may shrink.

    They become its option `widths`, in forward order. Raises if the model has no such option.
    """
    from tombola.core.registry import plain
    from tombola.models.build import factory_of
    from tombola.models.options import check_options

    options, factory = {**model.options, "widths": list(sizes.values())}, factory_of(model)
    try:
        check_options(plain(model.name), factory, options)
    except TombolaError as error:
        raise TombolaError(
            f"model {plain(model.name)!r} cannot be made smaller; give it an option `widths`, the units of {', '.join(sizes)} ({error})"
        ) from None
    return model.but(options=options)


def compact_model(model: Model, data: DataInfo, weights: Mapping[str, Any], mask: Mask | None = None) -> tuple[Model, Compact]:
    """The smaller model and what is left of the weights, for data of one kind.

    Raises as `compact` and `smaller` do, for a model with parts taken out, and if the two networks' outputs differ, on random
    inputs, by more than rounding.
    """
    from tombola.models.build import build

    if model.without:
        raise TombolaError(
            f"without = {', '.join(model.without)}: a network that parts were taken out of cannot be made smaller; give a whole one"
        )
    network = build(model, data)
    found = compact(network, weights, mask)
    small = smaller(model, found.sizes)
    _compare(network, weights, build(small, data), found.weights)
    return small, found


def compact_task(
    task: Task, weights: Tree, mask: Mask | None = None, replicate: int = 0, data_dir: Path | None = None
) -> tuple[Model, Tree, Mask | None]:
    """The smallest network with the same outputs: (model, weights, mask) without the dead units of one replicate.

    A unit is dead if nothing reads it, or if it is a constant that the next layer's bias can take up; see
    `tombola.surgery.compact.compact` for when training on is the same, too.

        model, start, mask = tb.compact(task, run.final, run.mask)
        tb.train(task.but(model=model), start=start, mask=mask)

    Args:
        task: of the weights; its data give the shape of the examples.
        weights: leaves (R, ...), with pruned weights at the values they are held at.
        mask: leaves (R, ...), if the result is to be trained on.
        replicate: which of the R.
        data_dir: folder of the data files; else TOMBOLA_DATA.

    Returns:
        The model, and weights and mask with leaves (1, ...); the mask is None if none was given.
    """
    from tombola.data.dataset import load
    from tombola.training.cohort import setup

    found = setup(task, load(task.data, data_dir))
    lead = np.shape(next(iter(weights.values()), ()))[:1]
    _check(found.network, weights, mask, lead)
    if not 0 <= replicate < lead[0]:
        raise TombolaError(f"replicate = {replicate}, but the weights have {lead[0]} replicates, which count from 0")
    one, kept = replica(weights, replicate), None if mask is None else replica(mask, replicate)
    model, left = compact_model(task.model, found.data, one, kept)
    return model, stack([left.weights]), None if left.mask is None else stack([left.mask])


def _check(network: "Network", weights: Mapping[str, Any], mask: Mask | None, lead: tuple[int, ...] = ()) -> None:
    """Raise unless weights and mask are the network's own; `lead` is the replica axis, if they have one."""
    if weights.keys() != network.shapes.keys():
        wrong = sorted(weights.keys() ^ network.shapes.keys())[0]
        raise TombolaError(f"weights: {wrong!r} is {'not a weight of this network' if wrong in weights else 'missing'}")
    for path, leaf in weights.items():
        if np.shape(leaf) != (wanted := (*lead, *network.shapes[path].shape)):
            first = " (replicates first)" if lead else ""
            raise TombolaError(f"weights {path!r} has shape {np.shape(leaf)}, but {wanted} is needed{first}")
    if mask is not None:
        masks.check(mask, {path: (*lead, *network.shapes[path].shape) for path in network.prunable})


def _biases(network: "Network") -> dict[str, str]:
    """Kernel -> bias of the layers that can take up a constant."""
    return {
        path: f"{layer.name}/bias"
        for layer in network.layers
        for path in layer.prunable
        if layer.kind in ("dense", "output") and len(network.shapes[path].shape) == 2 and f"{layer.name}/bias" in layer.paths
    }


def _remove_unread(units: "Units", present: Mask, alive: dict[str, np.ndarray]) -> bool:
    """Rule (a); whether it removed any."""
    outgoing = units.by_unit(present[units.outgoing])
    read = np.moveaxis(outgoing, -2, 0).reshape(units.count, -1).any(axis=1)
    return _remove(units, alive[units.layer] & ~read, present, alive) is not None


def _remove_constant(units: "Units", bias_after: str | None, tree: Tree, present: Mask, alive: dict[str, np.ndarray]) -> bool:
    """Rule (b); whether it removed any."""
    bias = f"{units.layer}/bias"
    if set(units.own) - {bias}:
        return False  # normalised: its constant depends on an epsilon that no leaf holds
    constant = np.maximum(tree[bias].astype(np.float64), 0.0) if bias in units.own else np.zeros(units.count)
    reached = present[units.incoming].reshape(-1, units.count).any(axis=0)
    foldable = (constant == 0) | (bias_after is not None)
    gone = _remove(units, alive[units.layer] & ~reached & foldable, present, alive)
    if gone is not None and bias_after is not None and constant[gone].any():
        rows = units.by_unit(tree[units.outgoing]).sum(axis=0, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # a replicate that diverged
            tree[bias_after] = (tree[bias_after] + constant[gone] @ rows[gone]).astype(tree[bias_after].dtype)
    return gone is not None


def _remove(units: "Units", gone: np.ndarray, present: Mask, alive: dict[str, np.ndarray]) -> np.ndarray | None:
    """Take units and their connections out, but for the first if no other would be left; the units taken, if any."""
    if gone.any() and not (alive[units.layer] & ~gone).any():
        gone[np.argmax(gone)] = False
    if not gone.any():
        return None
    alive[units.layer] = alive[units.layer] & ~gone
    present[units.incoming][..., gone] = False
    units.by_unit(present[units.outgoing])[..., gone, :] = False
    return gone


def _taken(tree: Mapping[str, np.ndarray], units: tuple["Units", ...], kept: Mapping[str, np.ndarray]) -> Tree:
    """The tree with only the kept units."""
    left = dict(tree)
    for one in units:
        indices = kept[one.layer]
        positions = (np.arange(one.spread)[:, None] * one.count + indices).reshape(-1)
        along = [(one.incoming, indices, -1), (one.outgoing, positions, -2), *((path, indices, 0) for path in one.own)]
        for path, taken, axis in along:
            if path in left:  # a mask has no leaf for biases and normalisation
                left[path] = np.take(left[path], taken, axis)
    return left


def _compare(large: "Network", weights: Mapping[str, Any], small: "Network", left: Tree) -> None:
    """Raise unless both give the same outputs: a module's `feeds`, or its `widths`, may not say what it does."""
    wanted, made = ({path: leaf.shape for path, leaf in tree.items()} for tree in (left, small.shapes))
    if wrong := {path for path, _ in wanted.items() ^ made.items()}:
        path = min(wrong)
        raise TombolaError(f"option `widths` of the model must give {path!r} the shape {wanted.get(path)}, not {made.get(path)}")
    if not same_outputs((large, weights), (small, left)):
        raise TombolaError(
            "the network without its dead units gives other outputs; its `feeds` must name only layers whose units, after "
            "batch norm of each and ReLU, one other layer alone reads"
        )
