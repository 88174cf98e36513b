"""Attacks on classifiers of texts: words are swapped for others, one after the other, by the gradient."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tombola.core.keys import generator
from tombola.core.trees import Tree
from tombola.evaluation.words import normalised
from tombola.models.network import Network

TABLE = "input/embedding"
"""Path of the table of a network that averages the vectors of words (`tombola.models.words.bag_of_words`)."""


def near(vectors: np.ndarray, words: np.ndarray, count: int, least: float) -> np.ndarray:
    """(len(words), count): of each word the words of the largest cosine with it, those of at least `least`; itself for each that lacks."""
    unit = normalised(vectors).astype(np.float32)
    found = np.empty((len(words), count), np.int32)
    for first in range(0, len(words), 1024):
        own = words[first : first + 1024]
        cosines = unit[own] @ unit.T
        cosines[np.arange(len(own)), own] = -np.inf
        chosen = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        found[first : first + 1024] = np.where(np.take_along_axis(cosines, chosen, 1) >= least, chosen, own[:, None])
    return found


def as_frequent(words: np.ndarray, vocabulary: int, count: int, seed: int) -> np.ndarray:
    """(len(words), count): of each word others that are about as frequent, whatever they mean.

    Tokens are in the order of frequency: of token r, `count` others among the 4 `count` next to it, drawn from the stream ``swaps``.
    """
    random, reach = generator(seed, "swaps"), min(4 * count, vocabulary - 1)
    first = np.clip(words - reach // 2, 0, vocabulary - 1 - reach)
    drawn = np.argsort(random.random((len(words), reach)), axis=1)[:, :count]
    found = first[:, None] + drawn
    return (found + (found >= words[:, None])).astype(np.int32)


def swapped(network: Network, weights: Tree, texts: np.ndarray, classes: np.ndarray, sets: np.ndarray, most: int) -> np.ndarray:
    """(n, most + 1) whether the network misclassifies each of n texts, after 0, 1, ..., `most` swaps; once wrong is wrong.

    Each step swaps that word, of those that are still the text's own, and for that word of its set, by which the cross-entropy rises
    most to first order: (e_c - e_w) . dL/de, e the network's own vectors. Nothing is swapped where nothing is to be gained.

    Args:
        texts: (n, L) tokens.
        sets: (vocabulary, k) of each word those that may take its place, itself where there are fewer; rows of words that are not in
            the texts do not matter.
    """
    run = _compiled(network)
    now, own, wrong = jnp.asarray(texts), jnp.ones(texts.shape, bool), []
    for _ in range(most + 1):
        now, own, missed = run(weights, now, own, classes, sets)
        wrong.append(np.asarray(missed))
    return np.maximum.accumulate(np.stack(wrong, axis=1), axis=1)


@lru_cache(maxsize=16)
def _compiled(network: Network) -> Any:
    def step(weights: Mapping[str, Any], texts: Any, own: Any, classes: Any, sets: Any) -> tuple[Any, Any, Any]:
        table = weights[TABLE]
        means = table[texts].mean(1)

        def loss(means: Any) -> Any:
            outputs = network.part("head", weights, means)
            return optax.softmax_cross_entropy_with_integer_labels(outputs, classes).sum(), outputs

        slopes, outputs = jax.grad(loss, has_aux=True)(means)
        candidates = sets[texts]
        gains = jnp.einsum("nlkd,nd->nlk", table[candidates] - table[texts][:, :, None], slopes)
        gains = jnp.where(own[:, :, None], gains, -jnp.inf).reshape(len(texts), -1)
        best = gains.argmax(1)
        place, rows = best // sets.shape[1], jnp.arange(len(texts))
        better = gains[rows, best] > 0
        word = jnp.where(better, candidates.reshape(len(texts), -1)[rows, best], texts[rows, place])
        return texts.at[rows, place].set(word), own.at[rows, place].set(~better & own[rows, place]), outputs.argmax(1) != classes

    return jax.jit(step)
