"""How long a network takes, whole and without its dead units, as a kind of measurement."""

import time
from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.numbers import whole
from tombola.core.trees import Tree
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.models.network import Network
from tombola.procedures.actions import Context
from tombola.procedures.measurements import Query, measurements
from tombola.surgery.outputs import evaluation, random_inputs


@measurements.register
def pass_time(context: Context, weights: Tree, mask: Mask, *, examples: int = 4096, repeats: int = 20) -> Query:
    """What a pass over examples takes, with a network under its mask and with the smallest that computes the same (`surgery.compact`).

    Both are compiled and called in turns on the same random inputs. The fastest of `repeats` calls counts, as whatever else the
    machine does only adds. It is the time of the machine that measured it.

    Gives: `whole_seconds`; `smaller_seconds`, NaN of networks that cannot be made smaller; and `test_error` (1,), the network's.
    """
    examples, repeats = whole("examples", examples, 1), whole("repeats", repeats, 1)
    if context.smaller is None:
        raise TombolaError("measurement 'pass_time' is of a task's network; ask for it by a study")
    inputs = random_inputs(context.network.data, examples)
    networks = [(context.network, weights)]
    with suppress(TombolaError):  # it declares no units, or has no option for their numbers
        networks.append(context.smaller(weights, mask))

    def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
        seconds = np.array([[_seconds(network, own, inputs) for network, own in networks] for _ in range(repeats + 1)])
        fastest = [*seconds[1:].min(axis=0), np.nan]  # the first compiles
        return {"whole_seconds": np.array(fastest[0]), "smaller_seconds": np.array(fastest[1]), "test_error": scores["test"].error}

    return Query(WeightCombinations(context.seed, (weights,)), read, ("test",))


def _seconds(network: Network, weights: Tree, inputs: np.ndarray) -> float:
    began = time.perf_counter()
    evaluation(network)(weights, inputs)[0].block_until_ready()
    return time.perf_counter() - began
