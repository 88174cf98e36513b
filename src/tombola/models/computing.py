"""How a module computes what it says: other algorithms for its convolutions, other products for its linear layers."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
from flax import nnx

from tombola.models.convolution import Algorithm, convolution


def adapt(module: nnx.Module, algorithm: Algorithm, products: Mapping[str, Callable[..., Any]]) -> None:
    """Change how a module computes, in place; what its author has given an algorithm or a product of its own is left alone."""
    if algorithm != "direct":
        module.set_attributes(_takes_any_algorithm, conv_general_dilated=convolution(algorithm), raise_if_not_found=False)
    for path, node in linear(module) if products else ():
        if path in products:
            node.dot_general = partial(_without_numbers, products[path])


def linear(module: nnx.Module) -> Iterator[tuple[str, nnx.Linear]]:
    """(path of its kernel, module) for each linear layer whose product its author has not replaced."""
    for place, node in nnx.iter_modules(module):
        if type(node) is nnx.Linear and node.dot_general is jax.lax.dot_general and node.preferred_element_type is None:
            yield "/".join(map(str, (*place, "kernel"))), node


def _takes_any_algorithm(_: Any, node: Any) -> bool:
    return isinstance(node, nnx.Conv) and node.conv_general_dilated is jax.lax.conv_general_dilated


def _without_numbers(product: Callable[..., Any], inputs: Any, kernel: Any, dimension_numbers: Any, **options: Any) -> Any:
    """A product of a linear layer as ``nnx.Linear`` calls it: it is always that of the last axis with the first."""
    return product(inputs, kernel)
