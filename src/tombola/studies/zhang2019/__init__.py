"""Zhang, Bengio & Singer 2019, *Are All Layers Created Equal?* (arXiv:1902.01996): one module a figure or a question."""

from tombola.studies.zhang2019 import (  # each registers its study
    blocks,
    capacity,
    criticality,
    frozen,
    joint,
    removed,
    robustness,
    tickets,
)

__all__ = ["blocks", "capacity", "criticality", "frozen", "joint", "removed", "robustness", "tickets"]
