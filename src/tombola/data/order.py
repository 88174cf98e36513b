"""Orders of examples: of training, a pure function of (seed, stream, epoch); and those by which they are divided."""

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


def in_shares(order: np.ndarray, classes: np.ndarray | None, random: np.random.Generator) -> np.ndarray:
    """An order of examples (n,) put so that each beginning and each end has every class's share, give or take an example or two: the r-th
    of a class's m examples stands at (r + u) / m of the way, with one u in [0, 1) for each class. The order itself, without classes.

    Args:
        classes: of all examples, which `order` has the places of.
    """
    if classes is None:
        return order
    own, place = classes[order], np.empty(len(order))
    for one in np.unique(own):
        places = np.flatnonzero(own == one)
        place[places] = (np.arange(len(places)) + random.random()) / len(places)
    return order[np.argsort(place, kind="stable")]
