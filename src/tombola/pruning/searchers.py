"""Masks that are searched without gradients: what is asked for, and what becomes of what is told. One function a searcher.

A mask is a row of n bits, all prunable leaves behind one another. A searcher is asked for a population of masks, is told what
each comes to (lower is better) and is asked again. All that it knows is a dictionary of arrays, so that a search can be
stopped and gone on with. A user's own is a registered function of a `Space`:

    @tb.searchers.register
    def blind(space, *, population=100):
        ask = lambda state, random: (state, space.drawn(space.logits(), population, random))
        return tb.Searcher(lambda random: {}, ask, lambda state, masks, told, random: state)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.numbers import whole
from tombola.core.parts import searchers as searchers

State = dict[str, np.ndarray]
Crossover = Literal["uniform", "layers"]


class Searcher(NamedTuple):
    """Three functions. `random` is a NumPy generator of the search's own stream, another one at each call."""

    first: Callable[[np.random.Generator], State]
    """random -> the state before anything is known."""
    ask: Callable[[State, np.random.Generator], tuple[State, np.ndarray]]
    """(state, random) -> state, and the masks that are to be scored, (P, n) bool."""
    tell: Callable[[State, np.ndarray, np.ndarray, np.random.Generator], State]
    """(state, masks (P, n), what each comes to (P,), lower is better, random) -> state."""
    centre: Callable[[State], np.ndarray] | None = None
    """state -> (n,) bool: the mask that a distribution over masks is centred on, which is looked at beside those that were scored."""


@dataclass(frozen=True, eq=False)
class Space:
    """The masks that may be found."""

    sizes: tuple[int, ...]
    """Weights of each leaf; n is their sum."""
    density: float = 0.5
    """With which masks begin; where `fixed`, what every mask has."""
    fixed: bool = False
    """Whether each leaf keeps round(density * size) weights, at least 1, in every mask; else as many as it happens."""
    seed: np.ndarray | None = None
    """(n,) bool: a mask to begin from; None: the search begins at random."""

    @property
    def leaves(self) -> list[slice]:
        """Where each leaf's bits are."""
        ends = np.cumsum(self.sizes)
        return [slice(int(end - size), int(end)) for end, size in zip(ends, self.sizes, strict=True)]

    @property
    def n(self) -> int:
        """Bits of a mask."""
        return sum(self.sizes)

    @property
    def counts(self) -> list[int]:
        """Weights that each leaf keeps where the density is fixed."""
        return [max(1, round(self.density * size)) for size in self.sizes]

    def logits(self, trust: float = 3.0) -> np.ndarray:
        """(n,) log-odds of each bit as a search begins: those of the density; of a seed, the density's and `trust` more or less."""
        base = np.full(self.n, np.log(self.density / (1 - self.density)))
        return base if self.seed is None else base + np.where(self.seed, trust, -trust)

    def drawn(self, logits: np.ndarray, population: int, random: np.random.Generator) -> np.ndarray:
        """(P, n) masks that keep bit i with probability sigmoid(logits[i]); where the density is fixed, the bits with the largest
        logit plus logistic noise.
        """
        noise = random.logistic(size=(population, self.n))
        return self.kept(logits + noise)

    def kept(self, scores: np.ndarray) -> np.ndarray:
        """(..., n) bool of real scores: those above 0; where the density is fixed, the largest of each leaf."""
        if not self.fixed:
            return np.asarray(scores > 0)
        found = np.zeros(scores.shape, bool)
        for leaf, count in zip(self.leaves, self.counts, strict=True):
            best = np.argpartition(scores[..., leaf], -count, axis=-1)[..., -count:]
            np.put_along_axis(found[..., leaf], best, True, axis=-1)
        return found

    def repaired(self, masks: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Masks with the right counts: where the density is fixed, random bits are dropped from leaves with too many, and added."""
        return self.kept(masks + random.random(masks.shape)) if self.fixed else masks


@searchers.register
def random(space: Space, *, population: int = 100) -> Searcher:
    """Masks drawn independently, at the density (or around the seed): what every other searcher has to beat."""
    size = whole("population", population, 1)
    return Searcher(lambda random: {}, lambda state, random: (state, space.drawn(space.logits(), size, random)), lambda state, *_: state)


@searchers.register
def flips(space: Space, *, rate: float = 1.0) -> Searcher:
    """(1+1) search: a mask and one child, scored on the same examples; the child stays if it is no worse.

    A child differs in each bit with probability rate / n, in one at least; where the density is fixed, what is dropped in a leaf is
    added in it elsewhere.
    """
    if not 0 < rate <= space.n:
        raise TombolaError(f"flips: rate = {rate!r}; write a number of bits above 0 and up to {space.n}")

    def first(random: np.random.Generator) -> State:
        return {"best": _first(space, 1, random)[0]}

    def ask(state: State, random: np.random.Generator) -> tuple[State, np.ndarray]:
        return state, np.stack([state["best"], _mutated(space, state["best"][None], rate / space.n, random)[0]])

    def tell(state: State, masks: np.ndarray, told: np.ndarray, random: np.random.Generator) -> State:
        return {"best": masks[1 if told[1] <= told[0] else 0]}

    return Searcher(first, ask, tell)


@searchers.register
def genetic(
    space: Space,
    *,
    population: int = 100,
    parents: float = 0.3,
    recombination: float = 0.3,
    mutation: float = 0.1,
    migration: float = 0.1,
    crossover: Crossover = "uniform",
    bits: int = 1,
) -> Searcher:
    """A genetic algorithm on bit strings; its defaults are those published for masks of untrained networks.

    In each generation the population gets children of two parents, mutants and random newcomers, is scored whole on the same
    examples (elites anew), and is cut to its best again: by what they come to, then by fewer weights.

    Args:
        population: P masks that survive.
        parents: the share of the population, from the best, that children and mutants are made of.
        recombination, mutation, migration: children, mutants, and newcomers of a generation, as shares of P.
        crossover: each bit from either parent (`uniform`); or up to one random place in each leaf from the one and after it from the
            other (`layers`), which never mixes layers.
        bits: that a mutant has flipped.

    Source: Altmann et al. 2024 (arXiv 2411.04658) and their code: uniform crossover, single bits, cut-off selection.
    """
    size = whole("population", population, 2)
    shares = {"parents": parents, "recombination": recombination, "mutation": mutation, "migration": migration}
    if wrong := [name for name, share in shares.items() if not 0 <= share <= 1]:
        raise TombolaError(f"genetic: {wrong[0]} = {shares[wrong[0]]!r}; write a share of the population, from 0 to 1")
    if crossover not in get_args(Crossover):
        raise unknown("crossover", crossover, get_args(Crossover))
    if whole("bits", bits, 1) > space.n:
        raise TombolaError(f"genetic: bits = {bits}, but a mask has {space.n}; write fewer")
    best, children, mutants, newcomers = (round(size * share) for share in shares.values())
    if children + mutants + newcomers < 1 or best < 2:
        raise TombolaError(
            "genetic: a generation needs 2 parents and 1 child, mutant or newcomer at least; write larger shares, or population"
        )

    def first(random: np.random.Generator) -> State:
        return {"masks": _first(space, size, random)}

    def ask(state: State, random: np.random.Generator) -> tuple[State, np.ndarray]:
        elite = state["masks"][:best]
        pairs = np.array([random.choice(len(elite), 2, replace=False) for _ in range(children)], int).reshape(-1, 2)
        born = _crossed(space, elite[pairs[:, 0]], elite[pairs[:, 1]], crossover, random)
        changed = elite[random.integers(len(elite), size=mutants)].copy()
        for mask in changed:
            mask[random.choice(space.n, bits, replace=False)] ^= True
        fresh = space.drawn(np.full(space.n, np.log(space.density / (1 - space.density))), newcomers, random)
        made = [space.repaired(one, random) for one in (born, changed)]
        return state, np.concatenate([state["masks"], *made, fresh])

    def tell(state: State, masks: np.ndarray, told: np.ndarray, random: np.random.Generator) -> State:
        order = np.lexsort((masks.sum(axis=1), told))
        return {"masks": masks[order[:size]]}

    return Searcher(first, ask, tell)


@searchers.register
def pbil(space: Space, *, population: int = 100, best: int = 25, rate: float = 0.2, least: float = 0.02, mutation: float = 0.0) -> Searcher:
    """Population-based incremental learning: a probability for each bit, which moves towards the best masks drawn with it.

        p <- (1 - rate) p + rate * mean of the `best` masks, then p <- (1 - mutation) p + mutation * density, within [least, 1 - least]

    Source: Baluja 1994 (CMU-CS-94-163), figure 4, with the mean of several masks in the place of one, as the cross-entropy method has.
    """
    size, chosen = whole("population", population, 2), whole("best", best, 1)
    if chosen >= size:
        raise TombolaError(f"pbil: best = {best} of a population of {population}; write fewer")
    if not 0 < rate <= 1 or not 0 <= mutation < 1 or not 0 < least < 0.5:
        raise TombolaError(
            f"pbil: rate = {rate!r}, mutation = {mutation!r}, least = {least!r}; they lie in (0, 1], in [0, 1) and in (0, 0.5)"
        )

    def first(random: np.random.Generator) -> State:
        return {"p": np.clip(1 / (1 + np.exp(-space.logits())), least, 1 - least)}

    def logits(state: State) -> np.ndarray:
        return np.asarray(np.log(state["p"] / (1 - state["p"])))

    def ask(state: State, random: np.random.Generator) -> tuple[State, np.ndarray]:
        return state, space.drawn(logits(state), size, random)

    def tell(state: State, masks: np.ndarray, told: np.ndarray, random: np.random.Generator) -> State:
        mean = masks[np.argsort(told, kind="stable")[:chosen]].mean(axis=0)
        moved = (1 - mutation) * ((1 - rate) * state["p"] + rate * mean) + mutation * space.density
        return {"p": np.clip(moved, least, 1 - least)}

    return Searcher(first, ask, tell, lambda state: space.kept(logits(state)))


def _first(space: Space, population: int, random: np.random.Generator) -> np.ndarray:
    """Random masks; of a seed, itself and masks drawn around it."""
    found = space.drawn(space.logits(), population, random)
    if space.seed is not None:
        found[0] = space.repaired(space.seed[None], random)[0]
    return found


def _mutated(space: Space, masks: np.ndarray, probability: float, random: np.random.Generator) -> np.ndarray:
    """Each bit flipped with a probability, one at least; with as many kept in each leaf where the density is fixed."""
    turned = random.random(masks.shape) < probability
    turned[np.arange(len(masks)), random.integers(space.n, size=len(masks))] = True
    return space.repaired(masks ^ turned, random)


def _crossed(space: Space, one: np.ndarray, other: np.ndarray, crossover: Crossover, random: np.random.Generator) -> np.ndarray:
    if crossover == "uniform":
        return np.where(random.random(one.shape) < 0.5, one, other)
    from_one = np.zeros(one.shape, bool)
    for leaf, size in zip(space.leaves, space.sizes, strict=True):
        from_one[:, leaf] = np.arange(size) < random.integers(size + 1, size=(len(one), 1))
    return np.where(from_one, one, other)
