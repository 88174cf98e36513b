"""Zhou et al. 2019, *Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask* (arXiv:1905.01067): one module a question."""

from tombola.studies.zhou2019 import (  # each registers its study
    compression,
    criteria,
    mask0,
    mask1,
    signs,
    supermask,
    trained,
)

__all__ = ["compression", "criteria", "mask0", "mask1", "signs", "supermask", "trained"]
