"""Data order: a pure function of (seed, stream, epoch)."""

import numpy as np

from tombola.core.keys import bit_generator


def epoch_order(seed: int, stream: str, epoch: int, examples: np.ndarray) -> np.ndarray:
    """The training examples in the order of one epoch: sorted by 64 random bits each, from the stream ``{stream}/{epoch}``.

    On the host, since a sort of this size is slow in a compiled program on a CPU; from raw bits, since NumPy keeps
    those the same from version to version.

    Args:
        examples: (n,) int32, indices into the pool.
    """
    bits = bit_generator(seed, f"{stream}/{epoch}").random_raw(len(examples))
    return examples[np.argsort(bits, kind="stable")]
