"""The masks of replicas that train together, where a mask schedule moves them: the host's side of an update."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from tombola.core import masks
from tombola.core.masks import Mask
from tombola.core.trees import Tree, replica, stack
from tombola.training.mask_schedules import MaskUpdates, chosen, updated
from tombola.training.program import Program, State
from tombola.training.replica import Replica
from tombola.training.setup import Setup


class MovingMasks:
    """What a schedule makes of the masks of replicas, at one of its iterations after the other."""

    def __init__(self, found: Setup, updates: MaskUpdates, replicas: Sequence[Replica], now: Mask, put: Callable[[Any], Any]) -> None:
        """`now`: the mask, leaves (places of the batch, ...); `put` brings what is stacked by replica to the devices."""
        self.found, self.updates, self.replicas, self.put = found, updates, replicas, put
        self.now: list[Mask] = [replica(now, index) for index in range(len(next(iter(now.values()))))]

    @property
    def densities(self) -> list[float]:
        """Of each replica."""
        return [masks.density(one) for one in self.now[: len(self.replicas)]]

    def move(self, program: Program, state: State, slopes: Tree, t: int) -> State:
        """The state after the update at iteration t. A replica's best network so far is forgotten: its mask is."""
        moving = [index for index, one in enumerate(self.replicas) if t > one.begin]
        forget = np.isin(np.arange(len(self.now)), moving)
        if self.updates.choose is None:
            return self._updated(state, slopes, t, moving, forget)
        paths = self.now[0].keys()  # no more leaves the devices
        given = jax.device_get([{path: tree[path] for path in paths if path in tree} for tree in (state.weights, slopes)])
        stay = [{path: np.ones_like(leaf) for path, leaf in one.items()} for one in self.now]
        for index in moving:
            weights, slope = (replica(tree, index) for tree in given)
            seed, mask = self.replicas[index].seed, self.now[index]
            stay[index], self.now[index] = chosen(self.found, self.updates, seed, t, weights, mask, slope or None)
        return program.moved(state, *self.put((stack(stay), stack(self.now), forget)))

    def _updated(self, state: State, slopes: Tree, t: int, moving: Sequence[int], forget: np.ndarray) -> State:
        """By a schedule that may return any weights and state of the optimiser."""
        given = jax.device_get((state.weights, state.moments, slopes))
        own = [jax.tree.map(lambda leaf, index=index: np.array(leaf[index]), given) for index in range(len(self.now))]
        for index in moving:
            weights, moments, slope = own[index]
            seed, mask = self.replicas[index].seed, self.now[index]
            weights, moments, self.now[index] = updated(self.found, self.updates, seed, t, weights, moments, mask, slope or None)
            own[index] = weights, moments, slope
        weights, moments, _ = self.put(jax.tree.map(lambda *leaves: np.stack(leaves), *own))
        best_loss = self.put(np.where(forget, np.inf, np.array(state.best_loss)).astype(np.float32))
        return state._replace(weights=weights, moments=moments, mask=self.put(stack(self.now)), best_loss=best_loss)
