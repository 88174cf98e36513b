"""Networks that classify texts under attack, as a kind of measurement: how often a few swapped words mislead them."""

from collections.abc import Mapping, Sequence

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.numbers import whole
from tombola.core.trees import Tree
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.evaluation.word_swaps import TABLE, as_frequent, near, swapped
from tombola.procedures.actions import Context
from tombola.procedures.measurements import Loop, Query, in_one_step, measurements

SETS = ("near", "frequent")


@measurements.register
def word_swaps(
    context: Context,
    dictionary: Tree,
    *networks: Tree,
    shares: Sequence[float],
    sets: Sequence[str] = SETS,
    neighbours: int = 10,
    cosine: float = 0.6,
    examples: int | None = None,
) -> Loop:
    """P networks on the first n test texts, of whose words up to a share is swapped (`tombola.evaluation.word_swaps.swapped`).

    Args:
        dictionary: weights of a skip-gram on the same vocabulary, whose vectors say which words are near.
        shares: of a text's words, S of them; one word at least.
        sets: what a word may be swapped for: `near`, its `neighbours` nearest of at least `cosine`; `frequent`, as many words that are
            about as frequent, whatever they mean.

    Gives: `clean_acc` (P,); of each set `near_acc`, `frequent_acc` (P, S), what is left; and with ``_known`` how many of the words of
    these texts have anything to be swapped for.
    """
    for share in shares:
        if not isinstance(share, int | float) or not 0 < share <= 1:
            raise TombolaError(f"word_swaps: shares has {share!r}; write shares of a text's words, above 0 and up to 1")
    for name in sets:
        if name not in SETS:
            raise unknown("set of word_swaps", name, SETS)
    whole("neighbours", neighbours, 1)
    fit = all(TABLE in tree for tree in (dictionary, *networks)) and all("head/output/kernel" in tree for tree in networks)
    if not networks or context.tested is None or not fit:
        raise TombolaError("measurement 'word_swaps' is of networks that average vectors of words, and of a skip-gram before them")
    if len(dictionary[TABLE]) != len(networks[0][TABLE]):
        raise TombolaError(
            f"the dictionary has {len(dictionary[TABLE])} words, and the network {len(networks[0][TABLE])}; train both on one text"
        )

    def ask() -> Query:
        assert context.tested is not None
        texts, classes = context.tested(examples)
        vocabulary, there, found = len(dictionary[TABLE]), np.unique(texts), dict[str, np.ndarray]()
        swaps = [max(1, int(share * texts.shape[1])) for share in shares]
        for name in sets:
            table = np.zeros((vocabulary, min(neighbours, vocabulary - 1)), np.int32)
            count = table.shape[1]
            table[there] = (
                near(dictionary[TABLE], there, count, cosine) if name == "near" else as_frequent(there, vocabulary, count, context.seed)
            )
            wrong = np.stack([swapped(context.network, one, texts, classes, table, max(swaps)) for one in networks])
            found |= {"clean_acc": 1 - wrong[:, :, 0].mean(1), f"{name}_acc": 1 - wrong[:, :, swaps].mean(1)}
            found[f"{name}_known"] = (table[texts] != texts[:, :, None]).any(2).mean()

        def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
            return {**found, "test_error": scores["test"].error}

        return Query(WeightCombinations(context.seed, networks[:1]), read, ("test",))

    return in_one_step(ask)
