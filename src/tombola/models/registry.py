"""Where networks are registered by name."""

from collections.abc import Callable

from flax import nnx

from tombola.core.registry import Registry

models: Registry[Callable[..., nnx.Module]] = Registry("model")
"""Name -> factory ``(shape, classes, *, rngs, **options) -> nnx.Module``, where `shape` is one example's."""
