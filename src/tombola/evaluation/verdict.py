"""A claim of a paper with what the data say of it."""

from dataclasses import dataclass
from typing import Literal

LEAST_REPLICATES = 5
"""With fewer, no claim is judged: an interval over two or three replicates may be narrow by chance."""


@dataclass(frozen=True)
class Effect:
    """One number that a claim rests on, oriented so that the claim expects it above 0."""

    name: str
    unit: str
    mean: float
    low: float
    """Ends of the 95 % interval over replicates."""
    high: float
    n: int
    p: float
    """Two-sided paired sign-flip test over replicates."""
    per_level: tuple[tuple[float, float, float], ...] = ()
    """(density or step, mean effect, Holm-adjusted p) at each level fixed beforehand."""
    least: float = 0.0
    """The smallest effect that would count: an interval wholly below it speaks against the claim."""
    note: str = ""
    decides: bool = True
    """False: shown beside the others, but not judged."""
    along: Literal["density", "step"] = "density"
    """What the first number of `per_level` is: a density, or the iteration k."""


@dataclass(frozen=True)
class Verdict:
    """A claim, judged at the scale that was run."""

    id: str
    sentence: str
    source: str
    effects: tuple[Effect, ...]
    note: str = ""

    @property
    def verdict(self) -> Literal["replicated", "not replicated", "undecided"]:
        """`not replicated`: some deciding interval lies wholly below the least effect that would count;
        `replicated`: every deciding interval lies above 0; else (an interval that reaches over 0, or too few
        replicates to have one) `undecided`.
        """
        deciding = [effect for effect in self.effects if effect.decides]
        if any(effect.n < LEAST_REPLICATES for effect in deciding):
            return "undecided"
        if any(effect.high <= effect.least for effect in deciding):
            return "not replicated"
        if deciding and all(effect.low > 0 for effect in deciding):
            return "replicated"
        return "undecided"
