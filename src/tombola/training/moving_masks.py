"""The masks of replicas that train together, where a mask schedule moves them: the host's side of an update."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from tombola.core import masks
from tombola.core.masks import Mask
from tombola.core.trees import Tree, packed, replica, stack, unpacked
from tombola.kernels.sparse import bands, places
from tombola.models.sparse_storage import ROWS, STARTS, Sizes, stored_places, to_dense
from tombola.training.mask_schedules import MaskUpdates, chosen, updated
from tombola.training.optimizers import by_path
from tombola.training.program import Program, State
from tombola.training.replica import Replica
from tombola.training.setup import Setup


class MovingMasks:
    """What a schedule makes of the masks of replicas, at one of its iterations after the other."""

    def __init__(
        self, found: Setup, updates: MaskUpdates, sizes: Sizes, replicas: Sequence[Replica], state: State, put: Callable[[Any], Any]
    ) -> None:
        """`sizes`: what of the state is in sparse storage; `put` brings what is stacked by replica to the devices."""
        self.found, self.updates, self.sizes, self.replicas, self.put = found, updates, sizes, replicas, put
        self.shapes = {path: found.network.shapes[path].shape for path in found.moving}
        weights, mask = jax.device_get((state.weights, state.mask))
        count = len(next(iter(mask.values())))
        self.now: list[Mask] = [self._dense(replica(mask, index), replica(weights, index)) for index in range(count)]

    @property
    def densities(self) -> list[float]:
        """Of each replica."""
        return [masks.density(one) for one in self.now[: len(self.replicas)]]

    def whole(self, weights: Tree) -> Tree:
        """Weights of the replicas as the plain network has them, on the devices."""
        if not self.sizes:
            return weights
        host = jax.device_get(weights)
        return self.put(stack([self._dense(one, one) for one in (replica(host, index) for index in range(len(self.now)))]))

    def move(self, program: Program, state: State, begin: Any, slopes: Tree, t: int) -> State:
        """The state after the update at iteration t. A replica's best network so far is forgotten: its mask is."""
        moving = [index for index, one in enumerate(self.replicas) if t > one.begin]
        if self.sizes:
            return self._relocated(state, jax.device_get(slopes), t, moving)
        if self.updates.choose is None:
            return self._updated(state, slopes, t, moving)
        given = jax.device_get(program.packed((state.weights, slopes) if slopes else (state.weights,)))  # no more leaves the devices
        choice = np.ones((len(self.now), 2, given.shape[-1]), bool)
        for index in moving:
            weights, *slope = (unpacked(one, self.shapes) for one in given[index])
            choice[index, 0] = packed(self._chosen(index, t, weights, slope[0] if slope else None), self.shapes)
        choice[:, 1] = [packed(one, self.shapes) for one in self.now]
        return program.moved(state, begin, np.int32(t), self.put(choice))

    def _chosen(self, index: int, t: int, weights: Tree, slope: Tree | None) -> Mask:
        """What stays of a replica's weights, whose mask is the new one from now on."""
        mask = {path: leaf for path, leaf in self.now[index].items() if path in self.shapes}
        stay, new = chosen(self.found, self.updates, self.replicas[index].seed, t, weights, mask, slope)
        self.now[index] = {**self.now[index], **new}
        return stay

    def _relocated(self, state: State, slopes: Tree, t: int, moving: Sequence[int]) -> State:
        """Where kernels are in sparse storage: what is stored of them, and of the optimiser's state, goes to other places."""
        given = jax.device_get((state.weights, state.moments, state.mask))
        own = [jax.tree.map(lambda leaf, index=index: leaf[index], given) for index in range(len(self.now))]
        for index in moving:
            weights, moments, mask = own[index]
            stay = self._chosen(index, t, self._dense(weights, weights), replica(slopes, index) if slopes else None)
            own[index] = self._stored(weights, moments, mask, stay, self.now[index])
        return self._put(state, own, moving)

    def _stored(self, weights: Tree, moments: Any, kept: Mask, stay: Mask, mask: Mask) -> tuple[Tree, Any, Mask]:
        """(weights, optimiser's state, mask) of one replica as they are stored under a new mask."""
        after, where = dict(weights), {}
        kept = {path: mask[path] if path in self.shapes else leaf for path, leaf in kept.items()}
        for path, size in self.sizes:
            if path not in self.shapes:
                continue  # a frozen layer's mask stays
            inputs, outputs = self.shapes[path]
            rows, columns, starts = places(mask[path], bands(inputs, outputs, size))
            where[path] = stored_places(weights, path, self.shapes[path]), (rows, columns)
            padding = (0, size - rows.size)
            after[path + ROWS], after[path + STARTS] = np.pad(rows, padding), starts
            kept[path] = np.pad(np.ones(rows.size, bool), padding)

        def moved(path: str, leaf: np.ndarray, held: np.ndarray) -> np.ndarray:
            if path not in where:
                return np.where(held, leaf, 0).astype(leaf.dtype)
            before, now = where[path]
            kernel = np.zeros(held.shape, leaf.dtype)
            kernel[before] = leaf[: before[0].size]
            return np.pad(np.where(held, kernel, 0).astype(leaf.dtype)[now], (0, leaf.size - now[0].size))

        after |= {path: moved(path, weights[path], stay[path]) for path in self.shapes}
        shapes = {path: weights[path].shape for path in self.shapes}
        return after, by_path(moments, shapes, lambda path, leaf: moved(path, leaf, stay[path] & mask[path])), kept

    def _updated(self, state: State, slopes: Tree, t: int, moving: Sequence[int]) -> State:
        """By a schedule that may return any weights and state of the optimiser."""
        given = jax.device_get((state.weights, state.moments, slopes))
        own = [jax.tree.map(lambda leaf, index=index: np.array(leaf[index]), given) for index in range(len(self.now))]
        for index in moving:
            weights, moments, slope = own[index]
            seed, mask = self.replicas[index].seed, self.now[index]
            weights, moments, self.now[index] = updated(self.found, self.updates, seed, t, weights, moments, mask, slope or None)
            own[index] = weights, moments, slope
        return self._put(state, [(weights, moments, mask) for (weights, moments, _), mask in zip(own, self.now, strict=True)], moving)

    def _put(self, state: State, own: Sequence[tuple[Tree, Any, Mask]], moving: Sequence[int]) -> State:
        """The state with weights, optimiser's state and mask of each replica; the best network of those that moved is forgotten."""
        weights, moments, mask = self.put(jax.tree.map(lambda *leaves: np.stack(leaves), *own))
        forget = np.isin(np.arange(len(self.now)), moving)
        best_loss = self.put(np.where(forget, np.inf, np.array(state.best_loss)).astype(np.float32))
        return state._replace(weights=weights, moments=moments, mask=mask, best_loss=best_loss)

    def _dense(self, tree: Tree, weights: Tree) -> Tree:
        """A replica's tree, of weights or mask, as the plain network has it; `weights` say where what is stored lies."""
        indices = {path: leaf for path, leaf in weights.items() if path.endswith((ROWS, STARTS))}
        shapes = {path: self.found.network.shapes[path].shape for path in tree if path not in indices}
        zeros = {path: np.zeros(shape, tree[path].dtype) for path, shape in shapes.items()}
        return to_dense({**tree, **indices}, zeros)
