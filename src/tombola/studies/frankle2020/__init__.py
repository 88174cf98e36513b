"""Frankle et al. 2020, *Linear Mode Connectivity and the Lottery Ticket Hypothesis* (arXiv:1912.05671): one module a figure."""

from tombola.studies.frankle2020 import (  # noqa: F401  # each registers its study
    instability,
    layers,
    levels,
    link,
    onset,
    path,
    permuted,
    ranges,
    remaining_time,
    sparse,
    surface,
)
