"""Skip-gram with negative sampling: which words stand near a word (Mikolov et al. 2013)."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.objective import Measure, Objective, register
from tombola.core.task import Count

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@register("skip_gram")
class SkipGram(Objective):
    """Examples are L words of a text, tokens (n, L). Each word is to tell its neighbours from noise: words drawn ~ count^power.

    Of a word and a neighbour the loss is -log s(u.v) - `negatives` mean_k log s(-u.v_k), s the logistic function and k over `noise`
    words, which all words of an example share. A word's window is drawn from 1 to `window`, and frequent words are left out before
    windows are laid, as in word2vec. The loss of an example is the mean over its pairs, in nats; training minimises the **sum** over
    all pairs of a batch, so that a word that comes twice is moved twice and the learning rate is word2vec's. No pair leaves its example.

    Outputs are u_i . v_j, (B, L, L + noise); targets, of the same shape, the weights of pairs: 1 where j is a neighbour of i, -w where
    j is noise that counts w times, 0 where neither.
    """

    targets: ClassVar[Literal["classes", "values", "inputs"]] = "inputs"
    measured: ClassVar[Mapping[str, Measure]] = {"nats": Measure("skip-gram loss", "nats")}

    window: Count = 5
    """Most words between a word and its neighbour, plus one."""
    negatives: Positive = 5.0
    """Noise words that each pair counts for."""
    noise: Count = 32
    """Noise words that are drawn for an example."""
    power: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.75
    """Noise is drawn ~ count^power."""
    subsample: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-3
    """t: a word of relative frequency f is left in with probability sqrt(t / f) + t / f, at most 1; 0: all are."""
    counts: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """How often each word comes; empty: as counted in the pool."""

    def info(self, dataset: Any) -> DataInfo:
        """Scores of the words of an example by each other."""
        if dataset.vocabulary is None or len(dataset.shape) != 1 or dataset.shape[0] < 2:
            raise TombolaError(
                f"objective {self.name!r} learns from text, tokens (n, length), at least 2 long; make them with tb.from_text"
            )
        return DataInfo(dataset.shape, dataset.shape * 2, dataset.input_dtype, None, dataset.vocabulary)

    def fitted(self, dataset: Any) -> Objective:
        """The objective with the counts of the pool filled in. Raises unless counts that are given are one for each word."""
        if dataset.vocabulary is None:
            return self
        if self.counts:
            if len(self.counts) != dataset.vocabulary:
                raise TombolaError(f"counts: {len(self.counts)} numbers for {dataset.vocabulary} words; give one for each, or none")
            return self
        return self.but(counts=tuple(dataset.counts.tolist()))

    def batch(self, key: Any, examples: tuple[Any, Any], predict: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Windows, words that are left out, and noise, drawn for each example."""
        import jax

        return self._drawn(jax.random.split(key, len(examples[0])), examples[0])

    def examined(self, examples: tuple[Any, Any]) -> tuple[Any, Any]:
        """The same, drawn by the words of the example: those that it has as another's too are drawn alike."""
        import jax

        keys = jax.vmap(lambda words: jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), self._named(words)))(examples[0])
        return self._drawn(keys, examples[0])

    def _named(self, words: Any) -> Any:
        """A number of the words in their order."""
        import jax.numpy as jnp

        weights = np.array([pow(0x9E3779B1, place + 1, 2**32) for place in range(words.shape[0])], np.uint32)
        return (words.astype(jnp.uint32) * weights).sum(dtype=jnp.uint32)

    def _drawn(self, keys: Any, text: Any) -> tuple[Any, Any]:
        """(words and noise (B, L + noise), weights of pairs (B, L, L + noise))."""
        import jax
        import jax.numpy as jnp

        counts = np.array(self.counts, np.float64)
        often = counts / counts.sum()
        ratio = self.subsample / np.maximum(often, 1e-300)
        chance = jnp.array(np.minimum(1, np.sqrt(ratio) + ratio) if self.subsample else np.ones(len(counts)), jnp.float32)
        sums = np.cumsum(counts**self.power)
        below = jnp.array(sums / sums[-1], jnp.float32)
        length = text.shape[1]

        def uniform(key: Any) -> Any:
            return jax.random.uniform(key, (2 * length + self.noise,))

        drawn = jax.vmap(uniform)(keys)
        left_in = drawn[:, :length] < chance[text]
        windows = jnp.floor(self.window * drawn[:, length : 2 * length]) + 1
        noise = jnp.minimum(jnp.searchsorted(below, drawn[:, 2 * length :], side="right", method="scan_unrolled"), len(counts) - 1)
        places = jnp.cumsum(left_in, axis=1)  # where a word stands in what is left of the text
        apart = abs(places[:, :, None] - places[:, None, :])
        near = left_in[:, :, None] & left_in[:, None, :] & (apart > 0) & (apart <= windows[:, :, None])
        pairs = near.sum(2, keepdims=True) * (self.negatives / self.noise)
        weights = jnp.concatenate([near.astype(jnp.float32), jnp.broadcast_to(-pairs, (*text.shape, self.noise))], axis=2)
        return jnp.concatenate([text, noise.astype(text.dtype)], axis=1), weights

    def loss(self, outputs: Any, targets: Any) -> Any:
        """(B,) mean over the pairs of an example; 0 where it has none."""
        import jax.numpy as jnp

        return self._summed(outputs, targets) / jnp.maximum((targets > 0).sum((1, 2)), 1)

    def training_loss(self, outputs: Any, targets: Any, smoothing: float) -> Any:
        """(B,) B times the sum over an example's pairs: its mean is the sum over all pairs of the batch."""
        return len(outputs) * self._summed(outputs, targets)

    def _summed(self, outputs: Any, targets: Any) -> Any:
        import jax

        # log(1 + exp(-z)) where j is a neighbour, log(1 + exp(z)) where it is noise.
        signed = jax.nn.softplus(jax.numpy.where(targets > 0, -outputs, outputs))
        return (abs(targets) * signed).sum((1, 2))

    def measures(self, outputs: Any, targets: Any) -> Mapping[str, Any]:
        """`nats`: the loss."""
        return {"nats": self.loss(outputs, targets)}

    def prediction(self, outputs: Any) -> Any:
        """(B, L) the mean score of each word."""
        return outputs.mean(-1)

    def disagreement(self, first: Any, second: Any) -> float:
        """Mean absolute difference of two networks' mean scores, in nats."""
        return float(np.mean(abs(np.asarray(first, np.float64) - second)))

    def chance(self, targets: Any) -> float:
        """The loss of one score for all pairs: the entropy of 1 against `negatives`, (n + 1) log(n + 1) - n log n; 2.70 for 5."""
        n = self.negatives
        return (n + 1) * math.log(n + 1) - n * math.log(n)
