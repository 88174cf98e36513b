"""Some training examples of a replica, always the same: what is asked of its network between the steps of training."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core import keys
from tombola.core.trees import Tree
from tombola.data.dataset import Dataset
from tombola.data.split import Split
from tombola.training.derivatives import of_batch
from tombola.training.program import network_inputs
from tombola.training.scorer import scorer
from tombola.training.setup import Setup

EXAMPLES, IN_KERNEL = 128, 64
"""The number of examples of a probe; and of those that the tangent kernel is of."""


class Probe:
    """Up to `EXAMPLES` examples of the training set with the replica's own labels, which its stream ``detect`` draws."""

    def __init__(self, found: Setup, dataset: Dataset, parts: Split, seed: int) -> None:
        drawn = keys.generator(seed, "detect").permutation(parts.train)[:EXAMPLES]
        self.found, self.inputs = found, dataset.inputs[drawn]
        self.targets = None if parts.targets is None or found.objective.targets == "inputs" else parts.targets[drawn]
        self.key = jax.random.wrap_key_data(jnp.asarray(keys.stream(seed, "detect")))

    def scores(self, weights: Tree) -> tuple[float, float]:
        """(mean loss, mean headline); a network with batch norm has the statistics of the probe."""
        loss, headline = _scores(self.found)(weights, self.inputs, self.targets)
        return float(loss), float(headline)

    @property
    def chance(self) -> float:
        """The headline of the best constant answer."""
        targets = network_inputs(self.found, self.inputs) if self.targets is None else self.targets
        return self.found.objective.chance(np.asarray(targets))

    def gradient(self, weights: Tree) -> Tree:
        """The gradient of the mean training loss, by the leaves that train."""
        return jax.device_get(of_batch(self.found, "gradient")(weights, self.inputs, self.targets, self.key))

    def product(self, weights: Tree, vector: Tree) -> Tree:
        """H v, H the Hessian of that loss; v and H v have the leaves that train."""
        return jax.device_get(of_batch(self.found, "product")(weights, self.inputs, self.targets, self.key, vector))

    def tangent_kernel(self, weights: Tree) -> np.ndarray:
        """(n, n) g_i . g_j over the first `IN_KERNEL` examples, g_i the gradient of r . f(x_i) by the leaves that train.

        r: fair signs, one for each output, drawn once: over r the mean is the trace of the tangent kernel (Novak et al. 2022).
        """
        outputs = int(np.prod(self.found.data.outputs))
        signs = np.asarray(jax.random.rademacher(jax.random.fold_in(self.key, 1), (outputs,), jnp.float32))
        return np.asarray(_kernel(self.found)(weights, self.inputs[:IN_KERNEL], signs), np.float64)


@lru_cache(maxsize=16)
def _scores(found: Setup) -> Any:
    network, judge = found.network, scorer(found)

    @jax.jit
    def scores(weights: Tree, inputs: Any, targets: Any) -> Any:
        inputs = network_inputs(found, inputs)
        judged = judge({**weights, **network.statistics(weights, inputs)}, inputs, targets)
        return judged.loss.mean(), next(iter(judged.measures.values())).mean()

    return scores


@lru_cache(maxsize=16)
def _kernel(found: Setup) -> Any:
    network, trained = found.network, found.trained

    @jax.jit
    def kernel(weights: Tree, inputs: Any, signs: Any) -> Any:
        inputs = network_inputs(found, inputs)
        weights = {**weights, **network.statistics(weights, inputs)}

        def output(leaves: Tree, example: Any) -> Any:
            return signs @ network.apply({**weights, **leaves}, example[None], train=False)[0].reshape(-1)

        slopes = jax.vmap(jax.grad(output), in_axes=(None, 0))({path: weights[path] for path in weights if path in trained}, inputs)
        flat = [leaf.reshape(len(inputs), -1) for leaf in slopes.values()]
        return sum(leaf @ leaf.T for leaf in flat)

    return kernel
