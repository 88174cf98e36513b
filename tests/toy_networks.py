"""Networks that several tests train, and the gradient of one as a textbook has it."""

import math

import numpy as np
from flax import nnx

from tombola.data.dataset import load
from tombola.data.order import epoch_order
from tombola.data.split import split


class Small(nnx.Module):
    """A convolution, batch norm, dropout and an output."""

    def __init__(self, shape, classes, *, rngs, dropout=0.0):
        self.conv = nnx.Conv(shape[-1], 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(dropout, rngs=rngs)
        self.output = nnx.Linear(4 * shape[0] * shape[1], classes, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        return self.output(self.drop(x.reshape(x.shape[0], -1)))


class Normed(nnx.Module):
    """A hidden layer with batch norm: leaves that are not prunable."""

    def __init__(self, shape, classes, *, rngs):
        self.hidden = nnx.Linear(math.prod(shape), 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.output = nnx.Linear(8, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(nnx.relu(self.norm(self.hidden(inputs.reshape(inputs.shape[0], -1)))))


def textbook(task, w, seed):
    """Iteration after iteration the gradient at the weights `w` of an MLP, in NumPy and float64; who asks for it steps."""
    dataset = load(task.data)
    part, batch = split(dataset, task.data, seed), task.recipe.batch
    per_epoch = len(part.train) // batch
    for t in range(task.recipe.steps.iterations(per_epoch)):
        order = epoch_order(seed, "data_order", t // per_epoch, part.train)
        chosen = order[(t % per_epoch) * batch :][:batch]
        x, y = dataset.inputs[chosen].astype(np.float64), part.targets[chosen]
        h1 = np.maximum(x @ w["hidden1/kernel"] + w["hidden1/bias"], 0)
        h2 = np.maximum(h1 @ w["hidden2/kernel"] + w["hidden2/bias"], 0)
        logits = h2 @ w["output/kernel"] + w["output/bias"]
        p = np.exp(logits - logits.max(1, keepdims=True))
        d = (p / p.sum(1, keepdims=True) - np.eye(10)[y]) / batch
        d2 = d @ w["output/kernel"].T * (h2 > 0)
        d1 = d2 @ w["hidden2/kernel"].T * (h1 > 0)
        yield (
            t,
            {
                **{"hidden1/kernel": x.T @ d1, "hidden1/bias": d1.sum(0)},
                **{"hidden2/kernel": h1.T @ d2, "hidden2/bias": d2.sum(0)},
                **{"output/kernel": h2.T @ d, "output/bias": d.sum(0)},
            },
        )
