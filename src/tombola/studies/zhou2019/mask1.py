"""What kept weights may start from: their signs, or more (mask-1 actions, section 3)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from tombola.evaluation.paired import difference, effect_over_levels
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.imp import pruned_mask
from tombola.procedures.run import Action, Run
from tombola.studies.base import Scale, Study, study
from tombola.studies.frankle2019.common import METRICS, measure
from tombola.studies.tickets import distinct, margin, tickets
from tombola.studies.zhou2019.common import SOURCE, SPARSE_NOTE, Masked, accuracy, at_scale, drawn, rows, sparse_levels, under, values

if TYPE_CHECKING:
    import pandas as pd

Start = Literal["rewind", "reinit", "reinit_sign", "permute", "permute_sign", "reshuffle", "reshuffle_sign", "constant", "constant_sign"]
STARTS: tuple[Start, ...] = get_args(Start)
LABELS = {
    "rewind": "rewind",
    "reinit": "fresh init",
    "permute": "layer permuted",
    "reshuffle": "kept values permuted",
    "constant": "constant",
}
SIGN = "_sign"
ARMS: dict[str, str] = {arm: LABELS[arm.removesuffix(SIGN)] + (", same signs" if arm.endswith(SIGN) else "") for arm in STARTS}


class Mask1(Masked):
    """Tickets whose kept weights start from other values."""

    starts: Annotated[tuple[Start, ...], Field(min_length=1)] = STARTS
    """`..._sign`: the same magnitudes under the signs that the weights have in W_k."""
    masks: Literal["ticket", "own"] = "ticket"
    """Whose masks: those of the ticket that is rewound; or `own`: each start is a chain of its own, whose rounds look at
    the weights that it ended with (and, by criteria that look there, at those that it began with)."""


def _configure(scale: Scale, task: str) -> Mask1:
    return Mask1(task=named_task(task, scale), **at_scale(scale))


@study(
    "zhou2019.mask1",
    answers="What of a ticket's initial values does it need: the values, their distribution, or the signs?",
    claims=("ZHOU-C2",),
    task="mnist1d-mlp",
    configure=_configure,
)
def mask1(config: Mask1) -> Study:
    """Tickets rewound, and their masks over fresh, permuted and constant values, without and with the weights' own signs.

    What the authors' code calls reinit is `permute`; `reinit` is a fresh draw.
    """
    distinct("starts", config.starts)
    plain = [arm for arm in config.starts if not arm.endswith(SIGN)]
    signed = [arm for arm in config.starts if arm.endswith(SIGN)]
    whose = {"ticket": "The masks of the rewound tickets.", "own": "Each start under masks of its own chain."}[config.masks]
    rewound = [arm for arm in plain if arm == "rewind"]
    drawings = (
        ("starts", "Kept weights with other initial values", plain),
        ("signs", "The same with their own signs", [*rewound, *signed]),
    )
    return Study(
        name="zhou2019.mask1",
        config=config,
        cells=tuple(
            cell for replicate in range(config.replicates) for cell in rows(config.starts, replicate, partial(_chain, config, replicate))
        ),
        metrics=METRICS,
        measure=measure,
        claims=partial(claims, config),
        arms={arm: ARMS[arm] for arm in config.starts},
        figures=tuple(accuracy(name, title, arms, whose) for name, title, arms in drawings if arms),
    )


def _chain(config: Mask1, replicate: int, arm: str) -> list[Run]:
    chain = tickets(config, replicate)
    if arm == "rewind":
        return chain
    if config.masks == "ticket":
        return [chain[0], *(under(ticket, _start(config, chain[0], arm, level)) for level, ticket in enumerate(chain[1:], 1))]
    own = chain[:1]
    for level, ticket in enumerate(chain[1:], 1):
        last = own[-1]
        mask = pruned_mask(config.pruning, last, last, last.begin)
        own.append(ticket.but(mask=mask, kept=_start(config, chain[0], arm, level)))
    return own


def _start(config: Mask1, dense: Run, arm: str, level: int) -> Action:
    name, signed = arm.removesuffix(SIGN), arm.endswith(SIGN)
    if arm == "constant_sign":
        return values(name, dense, config.pruning.rewind)
    if arm == "constant":
        return values(name, dense, config.pruning.rewind, keep_sign=False, stream=f"{name}/{level}/0")
    return drawn(name, dense, config.pruning.rewind, level, signed)


def claims(config: Mask1, table: "pd.DataFrame") -> list[Verdict]:
    """ZHOU-C2 on the table of the study: every start is an effect, and all must be as the claim says."""
    sentence = "No other start of the kept weights matches rewinding; with the weights' own signs each nearly does."
    arms = [arm for arm in STARTS if arm != "rewind"]
    return [Verdict("ZHOU-C2", sentence, f"{SOURCE}, section 3", tuple(_effect(config, table, arm) for arm in arms), SPARSE_NOTE)]


def _effect(config: Mask1, table: "pd.DataFrame", arm: str) -> Effect:
    allowed = margin(config.task, config.margin)
    lacking = [one for one in ("rewind", arm) if one not in set(table.arm)]
    levels = [] if lacking else sparse_levels(table)
    note = f"not among the starts: {lacking[0]}" if lacking else ""
    lost = 100 * difference(table, "acc_es", "rewind", arm, levels)
    if arm.endswith(SIGN):
        name = f"{ARMS[arm]}: less than {allowed:g} pp below rewinding, by"
        return effect_over_levels(name, "pp", allowed - lost, table, note=note)
    return effect_over_levels(f"{ARMS[arm]}: below rewinding, by", "pp", lost, table, note=note)
