"""Word embeddings: a vector of each word, and one of each word as context."""

import math
from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.parts import models
from tombola.core.task import Count
from tombola.models.mlp import MLP


class SkipGram(nnx.Module):
    """Scores of L words of a text with themselves and words beside them: u_i . v_j of each of the L and all, (B, L, words)."""

    tables = ("input", "output")
    kinds = {"input": "embedding", "output": "output"}

    def __init__(self, words: int, length: int, dimension: int, output_scale: float, rngs: nnx.Rngs) -> None:
        self.length = length
        self.input = nnx.Embed(words, dimension, embedding_init=_uniform(0.5 / dimension), rngs=rngs)
        self.output = nnx.Embed(words, dimension, embedding_init=_uniform(output_scale * 0.5 / dimension), rngs=rngs)

    def __call__(self, words: jax.Array) -> jax.Array:
        return jnp.einsum("bid,bjd->bij", self.input(words[:, : self.length]), self.output(words))


def _uniform(bound: float) -> nnx.Initializer:
    if not bound:
        return nnx.initializers.zeros_init()
    return lambda key, shape, dtype=jnp.float32, out_sharding=None: jax.random.uniform(key, shape, dtype, -bound, bound)


@models.register
def skip_gram(
    data: DataInfo, *, dimension: Count = 64, output_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0, rngs: nnx.Rngs
) -> nnx.Module:
    """Vectors u of words (layer `input`) and v of words as context (`output`), each (words, dimension). Mikolov et al. 2013.

    u ~ U(-a, a) with a = .5 / dimension, and v = 0, as in word2vec; with `output_scale` s, v ~ U(-s a, s a). Both need the
    initializer `own`. Inputs are tokens (B, words): the first L, as many as an example has, are the text.
    """
    if data.vocabulary is None or len(data.shape) != 1:
        raise TombolaError(
            f"examples are {data.dtype} {data.shape}, but words of a text are needed, tokens (length,); make them with tb.from_text"
        )
    return SkipGram(data.vocabulary, data.shape[0], dimension, output_scale, rngs)


class BagOfWords(nnx.Module):
    """The mean of the vectors of a text's words, and a classifier of it."""

    kinds = {"input": "embedding"}

    def __init__(self, words: int, dimension: int, widths: Sequence[int], classes: int, rngs: nnx.Rngs) -> None:
        self.input = nnx.Embed(words, dimension, rngs=rngs)
        self.head = MLP(dimension, widths, classes, 0.0, rngs)

    def __call__(self, words: jax.Array) -> jax.Array:
        return self.head(self.input(words).mean(1))


@models.register
def bag_of_words(data: DataInfo, *, dimension: Count = 32, widths: tuple[Count, ...] = (64,), rngs: nnx.Rngs) -> nnx.Module:
    """The vectors of a text's words, averaged (layer `input`, (words, dimension)), and hidden layers (`head`). Iyyer et al. 2015.

    Inputs are tokens (B, words).
    """
    if data.vocabulary is None or len(data.shape) != 1:
        raise TombolaError(
            f"examples are {data.dtype} {data.shape}, but words of a text are needed; make them with tb.from_text(..., parts=10)"
        )
    return BagOfWords(data.vocabulary, dimension, widths, math.prod(data.outputs), rngs)
