"""Which weights to keep: tickets by criterion (section 2)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tombola.pruning.criteria import criteria as registered
from tombola.studies import ACC_ES, Effect, Evidence, Figure, Run, Several, claim, hardest, study, tickets
from tombola.studies.zhou2019.common import Chains, accuracy

BEST = ("large_final", "magnitude_increase")
OTHERS = ("movement", "large_init_large_final", "large_init")
"""What the best are compared with, beside the criteria that they are above by being above random."""
OPPOSITES = {
    "large_final": "small_final",
    "large_init": "small_init",
    "large_init_large_final": "small_init_small_final",
    "large_final_same_sign": "large_final_diff_sign",
}
"""Criterion to its opposite."""
CRITERIA = {
    "large_final": "large final",
    "magnitude_increase": "magnitude increase",
    "large_final_same_sign": "large final, same sign",
    "movement": "movement",
    "large_init_large_final": "large init, large final",
    "large_init": "large init",
    "random": "random",
    "small_init": "small init",
    "small_init_small_final": "small init, small final",
    "small_final": "small final",
    "large_final_diff_sign": "large final, different sign",
}
NEAR = ("large_final", "magnitude_increase", "large_final_same_sign", "movement")
"""The criteria that are shown apart from the rest, which at high sparsity are far below."""
DIFFERENCES = "The curves lie so close that their differences from large final, replicate by replicate, are shown."
TIES = (
    "every weight that kept its sign has the score 0 of large final, different sign: where fewer changed it than are kept, the rest is "
    "drawn among ties"
)


@study("zhou2019.criteria", task="mnist1d-mlp", answers="Which weights should be kept: the large ones, those that grew, those that moved?")
class Criteria(Chains):
    """Each criterion's own chain of tickets, from one dense run a replicate."""

    scales = {**Chains.scales, "smoke": {**Chains.scales["smoke"], "criteria": (*BEST, "random", "small_final")}}
    arms = CRITERIA
    chosen = {"criterion": "this study compares several; set criteria instead"}

    criteria: Several[str] = tuple(CRITERIA)
    """The criteria that are compared. One of your own may be among them."""

    def chains(self, replicate: int) -> Mapping[str, Sequence[Run]]:
        for name in self.criteria:
            registered.check(name)
        return {name: tickets(self, replicate, criterion=name) for name in self.criteria}

    def figures(self) -> Sequence[Figure]:
        near, wide = ([name for name in self.criteria if _wide(name) == apart] for apart in (False, True))
        first = accuracy("criteria", "Tickets by criterion: large final values, growth, movement", near)
        if near[1:] and BEST[0] in near:
            panels = [replace(one, label=one.label.replace("(%)", "above large final (pp)"), threshold=0.0) for one in first.panels]
            first = replace(first, panels=tuple(panels), minus=BEST[0], caption=DIFFERENCES)
            wide = [BEST[0], *wide]
        others = accuracy("others", "Tickets by criterion: initial values, chance, and what others keep last", wide)
        return [one for one in (first, others) if one.arms]

    @claim(
        "ZHOU-C1",
        "section 2",
        "Large final values and magnitude increase are the best criteria; a criterion and its opposite lie on either side of random.",
        note="It is judged at 4 to 10 % density. Each half is judged where it is hardest. The best are compared with each other criterion "
        "but large final of the same sign, which is large final with a condition; that they are above the opposites follows from random.",
    )
    def best_and_opposites(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0.04, 0.1)
        for best in BEST:
            yield from hardest(table.above(best, other, ACC_ES, at) for other in OTHERS)
        yield from hardest(table.above(kept, "random", ACC_ES, at) for kept in (*OPPOSITES, BEST[1]))
        *opposites, by_sign = OPPOSITES.values()
        yield from hardest(table.above("random", opposite, ACC_ES, at) for opposite in opposites)
        yield table.above("random", by_sign, ACC_ES, at, lacks=TIES)


def _wide(name: str) -> bool:
    """Whether its tickets fall so far that the others would be one line beside them."""
    return (name in CRITERIA and name not in NEAR) or name.startswith("small_") or name.endswith("_diff_sign")
