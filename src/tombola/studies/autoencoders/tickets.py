"""Winning tickets of autoencoders: how sparse they are, against variational ones, and what they lose first."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, claim, study
from tombola.studies.autoencoders.common import (
    ACTIVE,
    HOYER,
    KINDS,
    LOST,
    MSE,
    PICTURED,
    PICTURES,
    PROBE,
    USED,
    Coded,
    kinds,
    little,
    of_first,
    reconstructions,
)
from tombola.studies.tickets import Level, Levels, reinitialised, spread_levels, tickets

_VALUE = Panel("value", "value of a pixel")


@study("autoencoders.tickets", task="digits-ae", answers="How sparse are winning tickets of autoencoders, and is it their initialisation?")
class Tickets(Coded):
    """Iterative pruning of both halves, and the same masks with fresh initial weights; of an autoencoder and a variational one."""

    arms = {"ticket": "winning ticket", "reinit": "same mask, fresh init"}
    scales = {"smoke": {"replicates": 2, "levels": 1, "compared": (1,), "probed": 200}, "paper": {"levels": 20}}

    levels: Levels = 13
    """Rounds of pruning after the dense run."""
    compared: Annotated[tuple[Level, ...], Field(min_length=1)] = (3, 5, 7, 9, 10, 11, 13)
    """Levels at which the masks also get fresh initial weights; those beyond `levels` do not count."""

    @property
    def variants(self) -> Mapping[str, str]:
        return {name: KINDS[name] for name in kinds(self.task)}

    def rows(self) -> Iterable[Row]:
        for variant, task in kinds(self.task).items():
            for replicate in range(self.replicates):
                chain = tickets(self, replicate, task)
                yield from (self.row("ticket", replicate, level, run, variant) for level, run in enumerate(chain))
                for level in (one for one in self.compared if one <= self.levels):
                    yield self.row("reinit", replicate, level, reinitialised(chain[level], level), variant)

    def details(self, results: Results) -> Details:
        shown = of_first(self.rows(), spread_levels(self.levels, 4), next(iter(self.variants)))
        return {"pictures": reconstructions([row for row in shown if row.arm == "ticket"], results)}

    def figures(self) -> Sequence[Figure]:
        lost = "A loss of 100 % is all of the way from the dense network to the mean picture, in squared error or negative ELBO."
        code = "A unit is on above a tenth of its largest activity, and in use if its activity is not the same for all test examples."
        return [
            Figure("tickets", "Tickets of autoencoders", (LOST, PROBE), caption=lost),
            Figure("code", "The code of tickets", (ACTIVE, USED, HOYER), caption=code),
            Figure("error", "Squared error of tickets", (MSE,)),
            Figure("pictures", "What tickets give back", (_VALUE,), **PICTURES, caption=PICTURED),
        ]

    @claim(
        "AE-C1",
        "section 4, autoencoders",
        "Tickets of an autoencoder are as good as the dense network down to about 10 % density; the same masks with fresh initial weights "
        "are not.",
        note="As good is to lose no more than 2 % of the way to the mean picture. Judged at 8 to 12 % density.",
    )
    def tickets_at_ten_percent(self, table: Evidence) -> Iterable[Effect]:
        rows = table.only(variant="ae")
        at, lacks = rows.levels(0.08, 0.12), self.collapsed(rows)
        ticket, fresh = (rows.of(LOST, arm, at) for arm in self.arms)
        margin = 100 * self.margin
        for name, values in (("ticket loses less than the margin", margin - ticket), ("fresh init loses more", fresh - margin)):
            yield rows.effect(f"{name}{rows.said(at)}", "pp", values, lacks=lacks or rows.lacking(("ticket", "reinit"), LOST, at))

    @claim(
        "AE-C4",
        "section 4, autoencoders and variational autoencoders",
        "Variational autoencoders bear less pruning than autoencoders.",
        note="It is judged by how much more of the way to the mean picture the tickets of variational autoencoders lose, at 20 % "
        "density or less. A difference counts from 1 pp.",
    )
    def bounds_bear_less(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, 0.2)
        ae, vae = (table.only(variant=name).of(LOST, "ticket", at) for name in KINDS)
        lacks = self.collapsed(table) or ("" if len(self.variants) > 1 else "no variational autoencoder of these data is registered")
        yield table.effect(f"more is lost of the bound{table.said(at)}", "pp", vae - ae, least=1.0, lacks=lacks)

    @claim(
        "AE-C9",
        "beside section 4",
        "What a linear probe reads off the code of an autoencoder is lost later than the reconstruction.",
        note="Both losses are shares of the way to knowing nothing. They are compared at 12 % density or less, if pictures have lost "
        "more there than the 1 pp that would count.",
    )
    def probes_fall_later(self, table: Evidence) -> Iterable[Effect]:
        rows = table.only(variant="ae")
        at = rows.levels(0, 0.12)
        pictures, probe = rows.of(LOST, "ticket", at), 100 * rows.of("probe_lost", "ticket", at)
        lacks = self.collapsed(rows) or rows.lacking(("ticket",), LOST, at) or little("the ticket", pictures, 1.0)
        yield rows.effect(f"more is lost of pictures than of the probe{rows.said(at)}", "pp", pictures - probe, least=1.0, lacks=lacks)
