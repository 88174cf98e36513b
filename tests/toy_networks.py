"""Networks that several tests train."""

import math

from flax import nnx


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
