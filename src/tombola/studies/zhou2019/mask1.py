"""What kept weights may start from: their signs, or more (mask-1 actions, section 3)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from tombola.studies import ACC_ES, Action, Effect, Evidence, Figure, Run, Several, claim, hardest, pruned_mask, study, tickets
from tombola.studies.zhou2019.common import SPARSE_NOTE, Masked, accuracy, drawn, sparse_levels, under, values

Start = Literal["rewind", "reinit", "reinit_sign", "permute", "permute_sign", "reshuffle", "reshuffle_sign", "constant", "constant_sign"]
STARTS: tuple[Start, ...] = get_args(Start)
SIGN = "_sign"
LABELS = {"reinit": "fresh init", "permute": "layer permuted", "reshuffle": "kept values permuted"}
ARMS: dict[str, str] = {
    arm: LABELS.get(arm.removesuffix(SIGN), arm.removesuffix(SIGN)) + (", same signs" if arm.endswith(SIGN) else "") for arm in STARTS
}


@study(
    "zhou2019.mask1",
    task="mnist1d-mlp",
    answers="What of a ticket's initial values does it need: the values, their distribution, or the signs?",
)
class Mask1(Masked):
    """Tickets rewound, and their masks over fresh, permuted and constant values, without and with the weights' own signs.

    What the authors' code calls reinit is `permute`; `reinit` is a fresh draw.
    """

    arms = ARMS
    starts: Several[Start] = STARTS
    """What kept weights start from; `..._sign` has the same magnitudes under the signs that the weights have in W_k."""
    masks: Literal["ticket", "own"] = "ticket"
    """The masks that starts are tried under: those of the ticket that is rewound (`ticket`), or each start's `own`, from a chain of its
    own, whose rounds look at the weights that it ended with."""

    def chains(self, replicate: int) -> Mapping[str, Sequence[Run]]:
        chain = tickets(self, replicate)
        return {arm: self._chain(chain, arm) for arm in self.starts}

    def _chain(self, chain: Sequence[Run], arm: str) -> list[Run]:
        own = list(chain[:1])
        for level, ticket in enumerate(chain[1:], 1):
            if arm == "rewind":
                own.append(ticket)
            elif self.masks == "ticket":
                own.append(under(ticket, self._start(chain[0], arm, level)))
            else:
                mask = pruned_mask(self.pruning, own[-1], own[-1], own[-1].begin)
                own.append(ticket.but(mask=mask, kept=self._start(chain[0], arm, level)))
        return own

    def _start(self, dense: Run, arm: str, level: int) -> Action:
        name, signed = arm.removesuffix(SIGN), arm.endswith(SIGN)
        if name == "constant":
            options = {} if signed else {"keep_sign": False, "stream": f"{name}/{level}/0"}
            return values(name, dense, self.pruning.rewind, **options)
        return drawn(name, dense, self.pruning.rewind, level, signed)

    def figures(self) -> Sequence[Figure]:
        whose = (
            "All starts are under the masks of the rewound tickets."
            if self.masks == "ticket"
            else "Each start is under the masks of its own chain."
        )
        plain = [arm for arm in self.starts if not arm.endswith(SIGN)]
        signed = [arm for arm in self.starts if arm.endswith(SIGN) or arm == "rewind"]
        titles = ("starts", "Kept weights with other initial values", plain), ("signs", "The same with their own signs", signed)
        return [accuracy(name, title, arms, whose) for name, title, arms in titles if arms]

    @claim(
        "ZHOU-C2",
        "section 3",
        "No other start of the kept weights matches rewinding; with the weights' own signs each nearly does.",
        note=f"{SPARSE_NOTE} To match is to be less than the margin below. Each half is judged by the start that is hardest for it.",
    )
    def only_signs_matter(self, table: Evidence) -> Iterable[Effect]:
        at = sparse_levels(table.table)
        plain, signed = ([arm for arm in STARTS[1:] if arm.endswith(SIGN) == with_signs] for with_signs in (False, True))
        yield from hardest(table.above("rewind", arm, ACC_ES, at, least=table.margin) for arm in plain)
        yield from hardest(table.within(arm, "rewind", ACC_ES, at) for arm in signed)
