"""Weight matching: the orders of one network's units that bring its weights nearest to another's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.surgery.outputs import same_outputs
from tombola.surgery.permute import permute

if TYPE_CHECKING:
    from tombola.models.network import Network
    from tombola.models.units import Units

TOLERANCE = 1e-12
"""Least gain that counts, as a share of the largest similarity that weights of these norms can have: above rounding."""


def match_units(
    network: "Network", fixed: Mapping[str, Any], moving: Mapping[str, Any], *, seed: int = 0, sweeps: int = 100
) -> dict[str, np.ndarray]:
    """Orders for which ``permute(moving, network.units, orders)`` is near `fixed`.

    They maximise, over the trainable leaves, sum <fixed, permute(moving)> = (|fixed|^2 + |moving|^2 - d^2) / 2, where d is
    the distance between the two; running statistics of batch norm do not count. All orders at once are a hard problem;
    one layer's, where the others stay, is a linear assignment: maximise sum_i S[i, order[i]], where S[i, j] is the inner
    product of all that enters, belongs to or leaves unit i of `fixed` and unit j of `moving`. A sweep solves it for each
    layer once, in an order drawn afresh from the stream `matching`. No step lowers the sum; the end is a local maximum,
    which may be another for another seed.

        aligned = permute(moving, network.units, match_units(network, fixed, moving))

    Args:
        fixed: weights of one replicate.
        moving: weights of another; the orders are of its units.
        seed: of the order of the layers.
        sweeps: at most so many; fewer if one improves nothing.

    Returns:
        Layer -> (units,) int: unit i of `fixed` is matched with unit ``orders[layer][i]`` of `moving`.

    Raises:
        TombolaError: if the network declares no units, if weights are not its own or not finite, for less than one sweep,
            and if `feeds` names units whose order changes the outputs.

    Source: Ainsworth et al. 2022, section 3.2, algorithm 1.
    """
    from tombola.models.units import check_declared

    check_declared(network.units)
    if sweeps < 1:
        raise TombolaError(f"sweeps = {sweeps}, but at least 1 is needed")
    _check(network, "fixed", fixed)
    _check(network, "moving", moving)
    random = generator(seed, "matching")
    orders = {one.layer: np.arange(one.count) for one in network.units}
    present = dict(moving)
    for _ in range(sweeps):
        improved = False
        for index in random.permutation(len(network.units)):
            one = network.units[index]
            order = _assign(_rows(network, one, fixed), _rows(network, one, present))
            if order is not None:
                orders[one.layer] = orders[one.layer][order]
                present = permute(present, network.units, {one.layer: order})
                improved = True
        if not improved:
            break
    running = {path: network.init_tensor(path, 0, "init") for path in network.running}  # they need not be there
    if not same_outputs((network, running | dict(moving)), (network, running | present)):
        raise TombolaError(
            "with its units in another order the network gives other outputs; its `feeds` must name only layers whose units, after "
            "normalisation of each by itself and ReLU, one other layer alone reads (a normalisation over groups of units mixes them)"
        )
    return orders


def match_activations(
    network: "Network", fixed: Mapping[str, Any], moving: Mapping[str, Any], reads_fixed: Mapping[str, Any], reads_moving: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Orders for which the units of ``permute(moving, network.units, orders)`` are active where those of `fixed` are.

    Of each layer by itself: unit i is matched with unit order[i] so that the sum of their correlations over examples (and pixels) is
    largest, a linear assignment. A unit that never changes has the correlation 0.

    Args:
        reads_fixed, reads_moving: path of a kernel -> (examples, ..., inputs) what its layer reads, on the same training examples: of
            the layer that reads a unit, the unit's activations.

    Returns:
        As `match_units`, and it raises as that does.

    Source: Ainsworth et al. 2022, section 3.1, with correlations as Li et al. 2015 have them.
    """
    from scipy.optimize import linear_sum_assignment

    from tombola.models.units import check_declared

    check_declared(network.units)
    _check(network, "fixed", fixed)
    _check(network, "moving", moving)
    orders = {}
    for one in network.units:
        first, second = (
            _standard(np.asarray(reads[one.outgoing], np.float64).reshape(-1, one.count)) for reads in (reads_fixed, reads_moving)
        )
        orders[one.layer] = linear_sum_assignment(first.T @ second, maximize=True)[1]
    return orders


def _standard(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and length 1; 0 where a column is constant."""
    centred = values - values.mean(0)
    length = np.linalg.norm(centred, axis=0)
    return np.where(length > 0, centred / np.where(length > 0, length, 1), 0)


def _rows(network: "Network", units: "Units", weights: Mapping[str, Any]) -> np.ndarray:
    """(units, weights of a unit): all that enters, belongs to or leaves each of them, in double precision."""
    outgoing = units.by_unit(np.asarray(weights[units.outgoing]))
    parts = [np.moveaxis(np.asarray(weights[units.incoming]), -1, 0), np.moveaxis(outgoing, -2, 0)]
    parts += [np.asarray(weights[path]) for path in units.own if path in network.trainable]
    return np.concatenate([part.reshape(units.count, -1) for part in parts], axis=1, dtype=np.float64)


def _assign(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray | None:
    """The order of the rows of `moving` that makes them most similar to those of `fixed`; None if theirs is as good."""
    from scipy.optimize import linear_sum_assignment

    similarity = fixed @ moving.T
    rows, order = linear_sum_assignment(similarity, maximize=True)
    gain = similarity[rows, order].sum() - similarity.trace()
    return order if gain > TOLERANCE * np.linalg.norm(fixed) * np.linalg.norm(moving) else None


def _check(network: "Network", name: str, weights: Mapping[str, Any]) -> None:
    for path, wanted in network.shapes.items():
        if path in network.trainable:
            if path not in weights or np.shape(weights[path]) != wanted.shape:
                given = np.shape(weights[path]) if path in weights else "missing"
                raise TombolaError(f"{name} {path!r}: {given}, but {wanted.shape} is needed; give weights of one replicate of this network")
            if not np.isfinite(weights[path]).all():
                raise TombolaError(f"{name} {path!r} is not finite; match replicates that did not diverge")
