"""Masks that are searched instead of weights that are trained: one module a question."""

from tombola.studies.search import evolved, masks, on_the_fly, overlap, width  # each registers its study

__all__ = ["evolved", "masks", "on_the_fly", "overlap", "width"]
