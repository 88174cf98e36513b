"""Evolution strategies of the package evosax as searchers: a normal distribution over scores, whose signs are masks."""

from functools import lru_cache
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.numbers import whole
from tombola.pruning.searchers import Searcher, Space, State, searchers


@searchers.register
def snes(space: Space, *, population: int = 100, std: float = 1.0) -> Searcher:
    """Separable natural evolution strategy: bit i is kept where the score x_i > 0, x ~ N(mean, diag(std^2)).

    Where the density is fixed, a leaf keeps its largest scores. The mean begins at the log-odds of `Space.logits`, which for
    a density of one half are 0.

    Source: Schaul, Glasmachers & Schmidhuber 2011; evosax's `SNES`. Needs ``tombola[search]``.
    """
    return _strategy("SNES", space, population, std)


@searchers.register
def sep_cma_es(space: Space, *, population: int = 100, std: float = 1.0) -> Searcher:
    """CMA-ES with a diagonal covariance, on scores as `snes` has them.

    Source: Ros & Hansen 2008; evosax's `Sep_CMA_ES`. Needs ``tombola[search]``.
    """
    return _strategy("Sep_CMA_ES", space, population, std)


class Strategy:
    """One of evosax's strategies, its state as a dictionary of arrays."""

    def __init__(self, name: str, mean: np.ndarray, population: int, std: float) -> None:
        if not isinstance(std, int | float) or isinstance(std, bool) or not std > 0:
            raise TombolaError(f"{name}: std = {std!r}; write a number above 0")
        self.mean = mean.astype(np.float32)
        self._es, self._structure = _algorithm(name, self.mean.size, whole("population", population, 4))
        self._params = self._es.default_params.replace(std_init=float(std))

    def first(self, random: np.random.Generator) -> State:
        """The state that a search begins with."""
        return self._flat(self._es.init(_key(random), self.mean, self._params))

    def ask(self, state: State, random: np.random.Generator) -> tuple[State, np.ndarray]:
        """State, and the population (P, n) float32."""
        population, found = self._es.ask(_key(random), self._tree(state), self._params)
        return self._flat(found), np.asarray(population)

    def tell(self, state: State, population: np.ndarray, told: np.ndarray, random: np.random.Generator) -> State:
        """State after P values, lower is better; what is not finite counts as the worst."""
        worst = np.max(told[np.isfinite(told)], initial=0.0)
        values = np.where(np.isfinite(told), told, worst).astype(np.float32)
        found, _ = self._es.tell(_key(random), population, values, self._tree(state), self._params)
        return self._flat(found)

    def centre(self, state: State) -> np.ndarray:
        """(n,) the mean."""
        return np.asarray(self._tree(state).mean)

    def std(self, state: State) -> np.ndarray:
        """(n,) the standard deviation of each value: of CMA-ES the step size times the root of the diagonal."""
        found = self._tree(state)
        return np.asarray(found.std * np.sqrt(found.C) if hasattr(found, "C") else found.std) * np.ones(self.mean.size, np.float32)

    def _flat(self, state: Any) -> State:
        import jax

        return {f"es/{index:02d}": np.asarray(leaf) for index, leaf in enumerate(jax.tree.leaves(state))}

    def _tree(self, state: State) -> Any:
        import jax

        return jax.tree.unflatten(self._structure, [state[name] for name in sorted(state) if name.startswith("es/")])


def _strategy(name: str, space: Space, population: int, std: float) -> Searcher:
    es = Strategy(name, space.logits(), population, std)

    def ask(state: State, random: np.random.Generator) -> tuple[State, np.ndarray]:
        found, scores = es.ask(state, random)
        return {**found, "scores": scores}, space.kept(scores)

    def tell(state: State, masks: np.ndarray, told: np.ndarray, random: np.random.Generator) -> State:
        return es.tell(state, state["scores"], told, random)

    return Searcher(es.first, ask, tell, lambda state: space.kept(es.centre(state)))


def _key(random: np.random.Generator) -> Any:
    import jax

    return jax.random.wrap_key_data(jax.numpy.asarray(random.integers(2**32, size=2, dtype=np.uint32)))


@lru_cache(maxsize=32)  # an object of its own would be compiled anew
def _algorithm(name: str, n: int, population: int) -> tuple[Any, Any]:
    """An algorithm of evosax, and the structure of its state."""
    try:
        from evosax import algorithms
    except ImportError:
        raise TombolaError("evolution strategies need the package evosax; install it: pip install 'tombola[search]'") from None
    import jax

    found, mean = getattr(algorithms, name)(population_size=population, solution=np.zeros(n, np.float32)), np.zeros(n, np.float32)
    return found, jax.tree.structure(jax.eval_shape(found.init, jax.random.key(0), mean, found.default_params))
