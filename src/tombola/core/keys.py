"""Randomness: one 64-bit seed per replicate, one named stream per purpose.

Every key is a SHA-256 of (seed, stream name), so adding a stream moves no other and neighbouring seeds share
nothing; Python's salted ``hash`` and sums such as ``seed + epoch`` are never used.
"""

import hashlib

import numpy as np

from tombola.core.errors import TombolaError

MOST_REPLICATES = 10_000


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def replicate_seed(seed: int, replicate: int) -> int:
    """The 64-bit seed of replicate 0, 1, 2, ... of a study with the given seed. Raises where there are more than anybody can train."""
    if replicate >= MOST_REPLICATES:
        raise TombolaError(f"replicates: at most {MOST_REPLICATES:,} are described at once; give fewer, and others by other seeds")
    return int.from_bytes(_digest(seed, f"replicate/{replicate}")[:8], "big")


def stream(seed: int, name: str) -> np.ndarray:
    """Key data, shape (2,) uint32, of the stream `name`: feed it to ``jax.random.wrap_key_data``.

    Names in use: init, ties, gradient, reinit, permute, reshuffle, constant, resign, zeroed, split, label_noise, data_order, augmentation,
    dropout, mask, sparse. A purpose that is met more than once adds to its name: ``reinit/3/0``, ``mask/3/0``.

    >>> bool((stream(0, "init") == stream(1, "init")).any())
    False
    """
    return np.frombuffer(_digest(seed, name)[:8], dtype=">u4").astype(np.uint32)


def bit_generator(seed: int, name: str) -> np.random.Philox:
    """The same stream as random bits on the host."""
    return np.random.Philox(key=int.from_bytes(_digest(seed, name)[:16], "big"))


def generator(seed: int, name: str) -> np.random.Generator:
    """The same stream as a NumPy generator, for work on the host (splits, label noise, control masks)."""
    return np.random.Generator(bit_generator(seed, name))
