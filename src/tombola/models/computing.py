"""How a network computes what it says: algorithms of convolutions, products of linear layers, their precision."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from tombola.core.task import Precision
from tombola.kernels.convolution import Algorithm, convolution

_MANTISSA = 10
"""Bits of a TF32 number's mantissa."""


class Computing(NamedTuple):
    """How a module computes; what is computed is its own, up to rounding."""

    algorithm: Algorithm = "direct"
    """The algorithm of convolutions."""
    precision: Precision = "float32"
    """The precision of convolutions and linear layers, and of their gradients."""
    products: Mapping[str, Callable[..., Any]] = {}
    """Path of a linear layer's kernel -> (inputs, kernel) -> outputs, in the place of their product."""
    record: Callable[[str, Any, Any], None] | None = None
    """A function that is told of each linear and convolutional layer its kernel's path, what it reads, and its outputs without the bias."""
    threads: int = 1
    """The number of threads that share a convolution of the algorithm `native`."""


PLAIN = Computing()


def adapt(module: nnx.Module, how: Computing) -> None:
    """Change how a module computes, in place; what its author has given an algorithm or a product of its own is left alone."""
    lower = tf32 if how.precision == "tf32" else lambda function: function
    if (how.algorithm, how.precision) != ("direct", "float32"):
        convolve = lambda *given, **options: lower(partial(convolution(how.algorithm, how.threads), **options))(*given)  # noqa: E731
        module.set_attributes(_takes_any_algorithm, conv_general_dilated=convolve, raise_if_not_found=False)
    for path, node in linear(module) if how.products or how.precision == "tf32" else ():
        if path in how.products:
            node.dot_general = partial(_without_numbers, how.products[path])
        elif how.precision == "tf32":
            node.dot_general = lambda *given, **options: lower(partial(jax.lax.dot_general, **options))(*given)
    if how.record is not None:
        for place, layer in nnx.iter_modules(module):
            for kind, name in ((nnx.Linear, "dot_general"), (nnx.Conv, "conv_general_dilated")):
                if isinstance(layer, kind):
                    path = "/".join(map(str, (*place, "kernel")))
                    setattr(layer, name, partial(_recorded, how.record, path, getattr(layer, name)))


def _recorded(
    record: Callable[[str, Any, Any], None], path: str, product: Callable[..., Any], inputs: Any, *rest: Any, **options: Any
) -> Any:
    outputs = product(inputs, *rest, **options)
    record(path, inputs, outputs)
    return outputs


def linear(module: nnx.Module) -> Iterator[tuple[str, nnx.Linear]]:
    """(path of its kernel, module) for each linear layer in float32 whose product its author has not replaced."""
    for place, node in nnx.iter_modules(module):
        if type(node) is not nnx.Linear or node.dot_general is not jax.lax.dot_general:
            continue
        if node.param_dtype == jnp.float32 and node.dtype in (None, jnp.float32) and node.preferred_element_type is None:
            yield "/".join(map(str, (*place, "kernel"))), node


def tf32(product: Callable[..., Any]) -> Callable[..., Any]:
    """A function (left, right, ...) -> outputs, linear in either operand, with operands and their gradients' rounded to TF32."""

    def rounded(left: Any, right: Any, *rest: Any) -> Any:
        def lowered(left: Any, right: Any) -> Any:
            with jax.default_matmul_precision("tensorfloat32"):
                return product(left, right, *rest)

        @jax.custom_vjp
        def function(left: Any, right: Any) -> Any:
            return lowered(_round(left), _round(right))

        def backward(given: tuple[Any, Any], out: Any) -> tuple[Any, Any]:
            with jax.default_matmul_precision("tensorfloat32"):
                return jax.vjp(lowered, *given)[1](_round(out))

        function.defvjp(lambda left, right: (function(left, right), (_round(left), _round(right))), backward)
        return function(left, right)

    return rounded


def _round(leaf: Any) -> Any:
    return jax.lax.reduce_precision(leaf, exponent_bits=8, mantissa_bits=_MANTISSA)


def _takes_any_algorithm(_: Any, node: Any) -> bool:
    return isinstance(node, nnx.Conv) and node.conv_general_dilated is jax.lax.conv_general_dilated


def _without_numbers(product: Callable[..., Any], inputs: Any, kernel: Any, dimension_numbers: Any, **options: Any) -> Any:
    """A product of a linear layer as ``nnx.Linear`` calls it: it is always that of the last axis with the first."""
    return product(inputs, kernel)
