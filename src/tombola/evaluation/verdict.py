"""A claim of a paper with what the data say of it, in five states that a referee would sign."""

from dataclasses import dataclass
from typing import Literal

from tombola.evaluation.statistics import holm

LEAST_UNITS = 6
"""The fewest independent units with which something is judged: two-sided sign flips of five cannot give p <= 0.05."""
LEVEL = 0.05
"""The level of significance of all tests."""

State = Literal["replicated", "replicated in part", "not replicated", "undecided", "not judged"]
PartState = Literal["holds", "contradicted", "undecided", "not judged", "shown"]


@dataclass(frozen=True)
class Effect:
    """One part of a claim as a number, oriented so that the claim's sentence expects it above `least`."""

    name: str
    unit: str
    mean: float
    low: float
    """Ends of the 95 % interval over independent units."""
    high: float
    n: int
    """Independent units: replicates that have a value."""
    p: float
    """Two-sided paired sign-flip test, over the units, of the mean against `least`."""
    per_level: tuple[tuple[float, float, float], ...] = ()
    """(density or step, mean effect, Holm-adjusted p) at each level fixed beforehand."""
    least: float = 0.0
    """The smallest effect that would count, in `unit`."""
    note: str = ""
    judged: bool = True
    """False: the table shows it, the sentence does not say it. It stands beside the others and never colours the verdict."""
    lacks: str = ""
    """The precondition that is missing, so that the part is not judged; "" if none is."""
    chosen_of: int = 1
    """The number of effects of which it is the lowest: its p counts as many times where it speaks against the claim."""
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
    lacks: str = ""
    """Why none of it is judged: the sentence is about other networks or data, say; "" if it is judged."""

    @property
    def parts(self) -> tuple[PartState, ...]:
        """What each effect comes to.

        A part *holds* if its interval lies above its least effect and p <= 0.05. It is *contradicted* if its interval lies at or
        below its least effect and p, Holm-adjusted over the parts of the claim that are judged, is <= 0.05 (a part that is the lowest
        of several effects counts its p as many times).
        """
        judged = [effect for effect in self.effects if effect.judged and not (effect.lacks or self.lacks)]
        adjusted = dict(zip(map(id, judged), holm([min(1.0, effect.chosen_of * effect.p) for effect in judged]), strict=True))
        return tuple(_state(effect, self.lacks or effect.lacks, adjusted.get(id(effect), 1.0)) for effect in self.effects)

    @property
    def verdict(self) -> State:
        """The five states of a verdict, the worst news first.

        `not replicated`: a part is contradicted. `replicated`: every part of the sentence was judged, and each holds. `replicated
        in part`: some hold, and the others are undecided or not judged. `undecided`: some part was judged, and none holds. `not
        judged`: no part was.
        """
        states = {state for state in self.parts if state != "shown"}
        if "contradicted" in states:
            return "not replicated"
        if "holds" in states:
            return "replicated" if states == {"holds"} else "replicated in part"
        return "undecided" if "undecided" in states else "not judged"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The preconditions that are missing, each once."""
        return tuple(dict.fromkeys(one for one in (self.lacks, *(e.lacks for e in self.effects if e.judged)) if one))

    @property
    def n(self) -> int:
        """The smallest number of independent units among the parts of the sentence that were measured; 0 if none was."""
        return min((effect.n for effect in self.effects if effect.judged and effect.n), default=0)


def _state(effect: Effect, lacks: str, adjusted: float) -> PartState:
    if not effect.judged:
        return "shown"
    if lacks:
        return "not judged"
    if effect.low > effect.least and effect.p <= LEVEL:
        return "holds"
    return "contradicted" if effect.high <= effect.least and adjusted <= LEVEL else "undecided"
