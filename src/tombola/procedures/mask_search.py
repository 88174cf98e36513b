"""Masks that are searched over weights that are never trained: measurements that go generation by generation."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.loading import one_line
from tombola.core.numbers import whole
from tombola.core.registry import plain
from tombola.core.task import Rescale, Supermask, Untrained
from tombola.core.trees import Tree
from tombola.evaluation.population import Fitness
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.models.supermask import effective
from tombola.procedures.actions import Context
from tombola.procedures.measurements import Loop, Query, facts, measurements
from tombola.pruning.searchers import Searcher, Space, searchers
from tombola.surgery.values import constant

FINALISTS = 8
"""Masks that are tried on validation examples at each look: the best of the last generation, and the centre, if there is one."""


@measurements.register
def searched_mask(
    context: Context,
    weights: Tree,
    like: Tree | None = None,
    *,
    searcher: str,
    budget: int,
    options: dict[str, Any] | None = None,
    batch: int = 256,
    looks: int = 10,
    density: float = 0.5,
    fixed: bool = False,
    fitness: Fitness = "error",
    rescale: Rescale = "none",
    price: float = 0.0,
    values: Untrained = "init",
) -> Loop:
    """A mask that a searcher finds over given weights, for a budget of example forward passes.

    In each generation all masks are scored on the same `batch` training examples, elites too. A pass is one example through one
    network. At each look the best masks of the generation are scored on all validation examples, and the best mask so far is
    kept; the test set is looked at in the end alone. Passes of validation are not counted.

    Args:
        weights: W; searched is m for the network W m r.
        like: a mask to begin from; else the search begins at random.
        searcher, options: a registered searcher, and what it takes.
        budget: passes after which no further generation begins.
        looks: K looks, at even shares of the budget, the last at its end.
        density: with which masks begin; `fixed`: what each layer has throughout.
        fitness: what is lower in a better mask: the objective's headline, or its loss.
        rescale: r: as `Supermask.rescale`.
        values: W as it is (`init`), or its signs times the standard deviation of the layer's initialiser (`constant`).
        price: added to the fitness times the density of the mask: 0.1 gives ten points of density for one of error.

    Gives: `passes` (K,), `generations` (K,), `searched_error` (K,), the lowest fitness of the last generation (its price left out);
    `validation_error`, `test_acc` (or as the objective's headline is called), `density` (K,), of the best mask so far; `mask/PATH`
    packed bits of the last; `live_inputs`, the share of the inputs that it connects to the first layer; `test_chance`.
    """
    if fitness not in get_args(Fitness):
        raise unknown("fitness", fitness, get_args(Fitness))
    if values not in get_args(Untrained):
        raise unknown("kind of values", values, get_args(Untrained))
    if rescale not in get_args(Rescale):
        raise unknown("rescale", rescale, get_args(Rescale))
    for name, value in (("budget", budget), ("batch", batch), ("looks", looks)):
        whole(name, value, 1)
    if not 0 < density < 1 or not price >= 0:
        raise TombolaError(f"density = {density!r}, price = {price!r}; a density lies between 0 and 1, and a price is 0 or more")
    network, spec = context.network, Supermask(rescale=rescale)
    weights = constant(network, weights) if values == "constant" else weights
    paths = network.prunable
    sizes = tuple(int(np.prod(network.shapes[path].shape)) for path in paths)
    start = None if like is None else np.concatenate([like[path].reshape(-1) for path in paths])
    space = Space(sizes, density, fixed, start)
    method = searchers.call(searcher, space, **(options or {}))
    if not isinstance(method, Searcher):
        raise TombolaError(f"searcher {plain(searcher)!r} must return tb.Searcher(first, ask, tell), not {type(method).__name__}")
    stream = f"search/{searcher}"

    def called(step: Callable[..., Any], *given: Any) -> Any:
        with one_line(f"searcher {plain(searcher)!r}"):
            return step(*given)

    def first() -> dict[str, np.ndarray]:
        blank = {"passes": np.zeros(looks, np.int64), "generations": np.zeros(looks, np.int64), "searched_error": np.full(looks, np.nan)}
        found = {**blank, "validation_error": np.full(looks, np.inf), "bits": np.zeros((looks, space.n), bool)}
        counted = {"looked": np.array(0), "spent": np.array(0, np.int64), "generation": np.array(0)}
        return _joined(called(method.first, generator(context.seed, f"{stream}/first")), {**found, **counted})

    def advance(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        own, kept = _parted(state)
        t, population = int(kept["generation"]), context.population
        own, asked = called(method.ask, own, generator(context.seed, f"{stream}/ask/{t}"))
        examples = population.batch(batch, f"search/batch/{t}")
        told = population.score(weights, asked, paths, examples, fitness, rescale)
        own = called(method.tell, own, asked, told + price * asked.mean(axis=1), generator(context.seed, f"{stream}/tell/{t}"))
        spent = kept["spent"] + len(asked) * len(examples)
        kept = {**kept, "spent": spent, "generation": np.array(t + 1)}
        place = int(kept["looked"])
        if spent >= budget * (place + 1) / looks or spent >= budget:
            best = asked[np.argsort(told + price * asked.mean(axis=1), kind="stable")[:FINALISTS]]
            tried = best if method.centre is None else np.concatenate([called(method.centre, own)[None], best])
            error = population.score(weights, tried, paths, population.validation, fitness, rescale) + price * tried.mean(axis=1)
            winner = int(error.argmin())
            before = kept["validation_error"][place - 1] if place else np.inf
            bits = tried[winner] if error[winner] < before or not place else kept["bits"][place - 1]
            seen = {"passes": spent, "generations": t + 1, "searched_error": told.min(), "bits": bits}
            seen["validation_error"] = min(error[winner], before)
            last = looks if spent >= budget else place + 1  # looks that a large generation passes over are this one
            kept |= {
                name: np.concatenate([kept[name][:place], np.stack([value] * (last - place)), kept[name][last:]])
                for name, value in seen.items()
            }
            kept["looked"] = np.array(last)
        return _joined(own, kept)

    def query(state: Mapping[str, np.ndarray]) -> Query:
        _, kept = _parted(state)
        found = [_tree(context, row) for row in kept["bits"]]
        networks = [effective(spec, weights, {path: leaf.astype(np.int8) for path, leaf in mask.items()}) for mask in found]

        def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
            test = scores["test"]
            last = found[-1]
            return {
                **{name: kept[name] for name in ("passes", "generations", "searched_error", "validation_error")},
                f"test_{test.objective.columns[1]}": test.shown,
                "density": np.array([masks.density(mask) for mask in found]),
                "live_inputs": np.array(live_inputs(last, paths[0])),
                **{f"mask/{path}": bits for path, bits in masks.pack(last).items()},
                **facts("test", test),
            }

        return Query(WeightCombinations(context.seed, tuple(networks)), read, ("test",))

    return Loop(first, advance, lambda state: min(1.0, float(state["kept/spent"]) / budget), query)


def live_inputs(mask: Tree, first: str) -> float:
    """Share of the inputs (or input channels) of the first leaf that have a weight."""
    leaf = mask[first]
    return float(leaf.any(axis=tuple(axis for axis in range(leaf.ndim) if axis != leaf.ndim - 2)).mean())


def _tree(context: Context, bits: np.ndarray) -> Tree:
    """A row of bits as a mask."""
    shapes = {path: context.network.shapes[path].shape for path in context.network.prunable}
    parts = np.split(bits, np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1])
    return {path: part.reshape(shapes[path]) for path, part in zip(shapes, parts, strict=True)}


def _joined(own: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**{f"own/{name}": value for name, value in own.items()}, **{f"kept/{name}": np.asarray(value) for name, value in kept.items()}}


def _parted(state: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    parts: dict[str, dict[str, np.ndarray]] = {"own": {}, "kept": {}}
    for name, value in state.items():
        whose, _, rest = name.partition("/")
        parts[whose][rest] = value
    return parts["own"], parts["kept"]
