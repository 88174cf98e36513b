"""Initialisers of all kinds: does each of them have tickets, and what do those buy that look at data first?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tombola.studies import ACC_FINAL, Action, Effect, Figure, Panel, Results, Row, Run, Several, Task, Values, chain_rows, study
from tombola.studies.claims import claim
from tombola.studies.evidence import Evidence, aside, hardest
from tombola.studies.initial.common import NOTE, TUNED, Tuned
from tombola.studies.transplant.common import COLLAPSED

MEASURED: tuple[str, ...] = (*TUNED, "early_loss")
LEARNT = ("lsuv", "metainit", "gradinit")
"""Value actions; all other names are initialisers of the model."""
NAMES = ("glorot_normal", "kaiming_normal", "lecun_normal", "lecun_uniform", "orthogonal", "signed_constant", "bimodal", *LEARNT)
_CALLED = {"glorot": "Glorot", "kaiming": "Kaiming", "lecun": "LeCun", "lsuv": "LSUV", "metainit": "MetaInit", "gradinit": "GradInit"}
FIVE = (0.03, 0.08)
"""Densities at which claims about 5 % are judged."""
SOON = 100
"""Iterations after which the loss says how fast training begins."""
EARLY = Panel("early_loss", f"validation loss after {SOON} iterations (nats)", log=True)


@study(
    "initial.initialisers", task="digits-mlp", answers="Does every initialiser have tickets, and do those that are learnt have better ones?"
)
class Initialisers(Tuned):
    """Tickets, and their masks over a fresh draw, of networks that are initialised in different ways.

    `lsuv`, `metainit` and `gradinit` look at training examples before training; the value actions of these names say at what cost.
    """

    columns = MEASURED
    scales = {**Tuned.scales, "smoke": {**Tuned.scales["smoke"], "names": ("glorot_normal", "bimodal", "lsuv")}}
    arms = {"ticket": "winning ticket", "reinit": "same mask, fresh draw"}

    names: Several[str] = NAMES
    """The initialisers, or value actions that make initial values. The others are compared with the first."""

    @property
    def variants(self) -> Mapping[str, str]:
        return {name: " ".join(_CALLED.get(word, word) for word in name.split("_")) for name in self.names}

    def settings(self) -> Mapping[str, tuple[Task, Action | None]]:
        return {
            name: (self.task, Action(name=name, options={"stream": "init"}))
            if name in LEARNT
            else (self.task.but(model=self.task.model.but(initializer=name)), None)
            for name in self.names
        }

    def sparse(self, replicate: int, variant: str, chain: Sequence[Run]) -> Iterable[Row]:
        yield from chain_rows("ticket", replicate, chain, variant)
        _, start = self.settings()[variant]
        for level in self.within(self.compared):
            yield Row("reinit", replicate, level, self.fresh(chain[level], level, start), variant=variant)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        found = super().measure(row, results)
        if isinstance(found, list):
            return found
        metrics = results[row.run].metrics
        place = min(int(np.searchsorted(metrics["step"], SOON)), len(metrics["step"]) - 1)
        return {**found, "early_loss": float(metrics["val_loss"][place])}

    def figures(self) -> Sequence[Figure]:
        last = max(self.within(self.compared), default=0)
        return [
            Figure("initialisers", "Tickets of initialisers", (ACC_FINAL, EARLY, COLLAPSED), levels=(last,), caption=NOTE),
            self.rates_figure(),
        ]

    def _at(self, table: Evidence) -> list[int]:
        return table.levels(*FIVE)

    @claim(
        "INIT-C1",
        "IDEAS I4",
        "There are tickets with every sensible initialiser.",
        note=f"{NOTE} A ticket has to be above its mask over a fresh draw, at 3 to 8 % density. The initialiser for which that is "
        "hardest is judged.",
    )
    def all_have_tickets(self, table: Evidence) -> Iterable[Effect]:
        each = [table.only(variant=name) for name in self.names]
        yield from hardest(one.above("ticket", "reinit", ACC_FINAL, self._at(one)) for one in each)

    @claim(
        "INIT-C7",
        "IDEAS I4",
        "MetaInit and GradInit speed up the first 100 steps and leave tickets as good as they are.",
        note=f"{NOTE} Each is compared with the first initialiser. Speed is told by log2 of the validation loss of dense networks "
        "after 100 iterations. Tickets differ if they are the margin or more apart at 3 to 8 % density.",
    )
    def learnt_ones_are_quick(self, table: Evidence) -> Iterable[Effect]:
        base = table.only(variant=self.names[0])
        for name in ("metainit", "gradinit"):
            own, lacks = table.only(variant=name), "" if name in self.names else f"{name} was not run"
            sooner = np.log2(base.of("early_loss", "ticket", [0])) - np.log2(own.of("early_loss", "ticket", [0]))
            yield table.effect(f"{name}: loss after {SOON} iterations below that of {self.names[0]}", "log2 ratio", sooner, lacks=lacks)
            at = self._at(base)
            worse = base.of(ACC_FINAL, "ticket", at) - own.of(ACC_FINAL, "ticket", at)
            within = f"{name}: ticket less than {table.margin:g} pp below that of {self.names[0]}"
            yield table.effect(within, "pp", table.margin - worse, lacks=lacks or base.lacking(("ticket",), ACC_FINAL, at))
        found: Any = {name: table.only(variant=name).of(ACC_FINAL, "ticket", [0]) for name in self.names}
        best = max(self.names, key=lambda name: float(np.nanmean(found[name].to_numpy())) if found[name].size else -1.0)
        yield aside(
            table.effect(f"dense network of {best}, the best, above that of {self.names[0]}", "pp", found[best] - found[self.names[0]])
        )
