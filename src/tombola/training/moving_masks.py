"""The masks of replicas that train together, where a mask schedule moves them: the host's side of an update."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from tombola.core import masks
from tombola.core.masks import Mask
from tombola.core.trees import Tree, packed, replica, stack, unpacked
from tombola.training.mask_schedules import MaskUpdates, chosen, updated
from tombola.training.program import Program, State
from tombola.training.replica import Replica
from tombola.training.setup import Setup


class MovingMasks:
    """What a schedule makes of the masks of replicas, at one of its iterations after the other."""

    def __init__(self, found: Setup, updates: MaskUpdates, replicas: Sequence[Replica], now: Mask, put: Callable[[Any], Any]) -> None:
        """`now`: the mask, leaves (places of the batch, ...); `put` brings what is stacked by replica to the devices."""
        self.found, self.updates, self.replicas, self.put = found, updates, replicas, put
        self.shapes = {path: now[path].shape[1:] for path in found.moving}
        self.now: list[Mask] = [replica(now, index) for index in range(len(next(iter(now.values()))))]

    @property
    def densities(self) -> list[float]:
        """Of each replica."""
        return [masks.density(one) for one in self.now[: len(self.replicas)]]

    def move(self, program: Program, state: State, begin: Any, slopes: Tree, t: int) -> State:
        """The state after the update at iteration t. A replica's best network so far is forgotten: its mask is."""
        moving = [index for index, one in enumerate(self.replicas) if t > one.begin]
        if self.updates.choose is None:
            return self._updated(state, slopes, t, moving)
        given = jax.device_get(program.packed((state.weights, slopes) if slopes else (state.weights,)))  # no more leaves the devices
        choice = np.ones((len(self.now), 2, given.shape[-1]), bool)
        for index in moving:
            mask = {path: leaf for path, leaf in self.now[index].items() if path in self.shapes}
            weights, *slope = (unpacked(one, self.shapes) for one in given[index])
            stay, new = chosen(self.found, self.updates, self.replicas[index].seed, t, weights, mask, slope[0] if slope else None)
            self.now[index] = {**self.now[index], **new}
            choice[index, 0] = packed(stay, self.shapes)
        choice[:, 1] = [packed(one, self.shapes) for one in self.now]
        return program.moved(state, begin, np.int32(t), self.put(choice))

    def _updated(self, state: State, slopes: Tree, t: int, moving: Sequence[int]) -> State:
        """By a schedule that may return any weights and state of the optimiser."""
        given = jax.device_get((state.weights, state.moments, slopes))
        own = [jax.tree.map(lambda leaf, index=index: np.array(leaf[index]), given) for index in range(len(self.now))]
        for index in moving:
            weights, moments, slope = own[index]
            seed, mask = self.replicas[index].seed, self.now[index]
            weights, moments, self.now[index] = updated(self.found, self.updates, seed, t, weights, moments, mask, slope or None)
            own[index] = weights, moments, slope
        weights, moments, _ = self.put(jax.tree.map(lambda *leaves: np.stack(leaves), *own))
        forget = np.isin(np.arange(len(self.now)), moving)
        best_loss = self.put(np.where(forget, np.inf, np.array(state.best_loss)).astype(np.float32))
        return state._replace(weights=weights, moments=moments, mask=self.put(stack(self.now)), best_loss=best_loss)
