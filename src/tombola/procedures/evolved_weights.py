"""Weights that an evolution strategy trains, and what is left of them when they are pruned by what the strategy knows of each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.core.numbers import whole
from tombola.core.trees import Tree
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.procedures.actions import Context
from tombola.procedures.measurements import Loop, Query, facts, measurements
from tombola.pruning.evolution import Strategy

CRITERIA = ("snr", "mean", "random")
"""What is kept: the largest |mean / sigma|, the largest |mean|, or weights at random."""


@measurements.register
def evolved_weights(
    context: Context,
    weights: Tree,
    *,
    budget: int,
    densities: Sequence[float],
    strategy: str = "SNES",
    population: int = 64,
    std: float = 0.1,
    batch: int = 256,
    held: bool = False,
) -> Loop:
    """Weights trained by an evolution strategy: all that trains, x ~ N(mean, diag(sigma^2)), by the mean loss on a batch a generation.

    In the end the mean is pruned at once, in each layer to each of some densities, by `CRITERIA`; nothing is trained afterwards.

    Args:
        weights: the mean that the strategy begins with.
        budget: example forward passes after which no further generation begins.
        strategy: one of evosax's: `SNES`, `Sep_CMA_ES`.
        population, std: networks of a generation; sigma at the beginning.
        held: whether it is `weights` that is pruned, by the sigma that the strategy finds around it, and not the mean.

    Gives: `passes`, `whole_acc` (or as the objective's headline is called), of the network that is pruned; `snr_acc`, `mean_acc`,
    `random_acc` (D,), of what is left of it; `densities` (D,), kept / prunable; `spread`, the standard deviation of log sigma over the
    prunable weights; `test_chance`.

    Source: pruning by |mean / sigma| is from Lange & Sprekeler 2023.
    """
    for name, value in (("budget", budget), ("batch", batch)):
        whole(name, value, 1)
    if not densities or any(not 0 < one <= 1 for one in densities):
        raise TombolaError(f"densities = {list(densities)}; write shares above 0 and up to 1, one or more")
    network, trained = context.network, tuple(path for path in context.network.shapes if path in context.network.trainable)
    begin = np.concatenate([weights[path].reshape(-1) for path in trained])
    es = Strategy(strategy, begin, population, std)

    def first() -> dict[str, np.ndarray]:
        return {**es.first(generator(context.seed, "evolve/first")), "spent": np.array(0, np.int64), "generation": np.array(0)}

    def advance(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        t, scored = int(state["generation"]), context.population
        own, asked = es.ask(state, generator(context.seed, f"evolve/ask/{t}"))
        examples = scored.batch(batch, f"evolve/batch/{t}")
        told = scored.score(weights, asked, trained, examples, "loss", kind="weights")
        own = es.tell(own, asked, told, generator(context.seed, f"evolve/tell/{t}"))
        return {**own, "spent": state["spent"] + len(asked) * len(examples), "generation": np.array(t + 1)}

    def query(state: Mapping[str, np.ndarray]) -> Query:
        split = lambda flat: _split(network.shapes, trained, flat)  # noqa: E731
        sigma = split(es.std(dict(state)))
        whole_tree = {**weights, **({} if held else split(es.centre(dict(state)).astype(np.float32)))}
        drawn = {path: generator(context.seed, f"evolve/random/{path}").random(weights[path].shape) for path in network.prunable}
        networks, kept = [whole_tree], []
        for criterion in CRITERIA:
            scores = {
                path: {"snr": np.abs(whole_tree[path] / sigma[path]), "mean": np.abs(whole_tree[path])}.get(criterion, drawn[path])
                for path in drawn
            }
            for density in densities:
                masks = {path: _largest(score, density) for path, score in scores.items()}
                networks.append({path: leaf * masks[path] if path in masks else leaf for path, leaf in whole_tree.items()})
                kept.append(sum(int(mask.sum()) for mask in masks.values()) / sum(mask.size for mask in masks.values()))
        logs = np.log(np.concatenate([sigma[path].reshape(-1) for path in network.prunable]))

        def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
            shown, column = scores["test"].shown, scores["test"].objective.columns[1]
            by = shown[1:].reshape(len(CRITERIA), -1)
            found: dict[str, Any] = {f"{name}_{column}": row for name, row in zip(CRITERIA, by, strict=True)}
            whole_shown = {f"whole_{column}": np.array(shown[0]), "passes": state["spent"], "spread": np.array(logs.std())}
            return {**found, **whole_shown, "densities": np.array(kept[: len(densities)]), **facts("test", scores["test"])}

        return Query(WeightCombinations(context.seed, tuple(networks)), read, ("test",))

    return Loop(first, advance, lambda state: min(1.0, float(state["spent"]) / budget), query)


def _split(shapes: Mapping[str, Any], paths: Sequence[str], flat: np.ndarray) -> Tree:
    parts = np.split(flat, np.cumsum([int(np.prod(shapes[path].shape)) for path in paths])[:-1])
    return {path: part.reshape(shapes[path].shape) for path, part in zip(paths, parts, strict=True)}


def _largest(scores: np.ndarray, density: float) -> np.ndarray:
    """The share of the scores that is kept, one at least."""
    count, kept = max(1, round(density * scores.size)), np.zeros(scores.size, bool)
    kept[np.argsort(-scores.reshape(-1), kind="stable")[:count]] = True
    return kept.reshape(scores.shape)
