"""Frankle & Carbin 2019, *The Lottery Ticket Hypothesis* (arXiv:1803.03635): one module a figure."""

from tombola.studies.frankle2019 import (  # noqa: F401  # each registers its study
    connectivity,
    conv,
    dropout,
    initial_values,
    movement,
    one_shot,
    optimizers,
    rates,
    sizes,
    sparsity,
    strategies,
    warmup,
)
