"""Networks as Flax NNX modules, and as pure functions of a flat weights tree."""
