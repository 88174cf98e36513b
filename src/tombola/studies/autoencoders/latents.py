"""Does a mask empty the latents that the KL term of the bound switches off?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.task import Count
from tombola.evaluation.verdict import LEAST_UNITS, Effect
from tombola.studies import Details, Evidence, Figure, Frame, Levels, Panel, Results, Row, Several, Values, claim, picture, study, tickets
from tombola.studies.autoencoders.common import LOST, PICTURED, PICTURES, Coded, gallery, of_first, reconstructions

_VALUE = Panel("value", "value of a pixel")
_SHOWN = 10
"""Latents of which a traversal is shown, those with the greatest variance first."""


@study("autoencoders.latents", task="digits-vae", answers="Does a mask empty the latents that the KL term switches off?")
class Latents(Coded):
    """Tickets of variational autoencoders with more latents than they use, for several beta."""

    paper = ""
    arms = {"ticket": "winning ticket"}
    scales = {"smoke": {"replicates": 2, "levels": 1, "betas": (1.0,), "probed": 0}, "paper": {"levels": 20}}
    columns = (*Coded.columns, "inactive", "precision", "recall")
    traversed = True

    levels: Levels = 16
    """Rounds of pruning after the dense run."""
    latents: Count = 16
    """Sizes of the code."""
    betas: Several[Annotated[float, Field(gt=0)]] = (0.5, 1.0)
    """Factors beta on the KL term."""

    @property
    def variants(self) -> Mapping[str, str]:
        return {f"{beta:g}": f"beta = {beta:g}" for beta in self.betas}

    def rows(self) -> Iterable[Row]:
        model = self.task.model.but(options={**self.task.model.options, "latents": self.latents})
        for variant, beta in zip(self.variants, self.betas, strict=True):
            task = self.task.but(model=model, objective=self.task.objective.but(beta=beta))
            for replicate in range(self.replicates):
                for level, run in enumerate(tickets(self, replicate, task)):
                    yield self.row("ticket", replicate, level, run, variant)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The values of a row, with how well the latents that the mask emptied are those that are inactive in the dense network."""
        values: dict[str, Any] = super().measure(row, results)  # type: ignore[assignment]
        found, dense = (results.measured(self.coded(run)) for run in (row.run, self.dense_of(row)))
        emptied, inactive = found["emptied"].astype(bool), ~dense["latent_active"].astype(bool)
        hits = int((emptied & inactive).sum())
        return {
            **values,
            "inactive": int(inactive.sum()),
            "precision": hits / emptied.sum() if emptied.any() else np.nan,
            "recall": hits / inactive.sum() if inactive.any() else np.nan,
        }

    def details(self, results: Results) -> Details:
        rows = of_first(self.rows(), (0, self.levels), next(iter(self.variants)))
        ways = []
        for row in rows:
            shown = np.argsort(~results.of(row)["latent_active"].astype(bool), kind="stable")[:_SHOWN]
            pictures = results.of(row)["traversal"][shown]
            made = gallery(pictures.reshape(-1, *pictures.shape[2:]), pictures.shape[1], gap=1)
            ways.append(picture(made - min(0.0, float(made.min())), **results.where(row, variant="")))
        return {"pictures": reconstructions(rows, results), "ways": ways}

    def figures(self) -> Sequence[Figure]:
        counts = (Panel("latents_active", "active latents"), Panel("emptied", "latents that the mask empties"))
        both = (Panel("precision", "emptied that were inactive (%)", 100), Panel("recall", "inactive that are emptied (%)", 100))
        active = "A latent is active if the variance of its posterior mean is above 0.01, and emptied if no weight computes or reads it."
        ways = "Each row is what the decoder makes of one of ten latents, active ones first, at -2, -1, 0, 1 and 2, with the others at 0."
        return [
            Figure("latents", "Latents that are active, and those that the mask empties", counts, caption=active),
            Figure("found", "Does the mask empty those that are inactive in the dense network?", both, caption=active),
            Figure(
                "lost",
                "What tickets lose",
                (LOST,),
                caption="A loss of 100 % is all of the way from the dense network to the mean picture.",
            ),
            Figure("ways", "Traversals of latents", (_VALUE,), **{**PICTURES, "detail": "ways"}, caption=ways),
            Figure("pictures", "What tickets give back", (_VALUE,), **PICTURES, caption=PICTURED),
        ]

    @claim(
        "AE-C8",
        "a question of Tombola's",
        "Pruning empties the latents that the KL term has switched off, and no others, before any other latent falls silent.",
        note="Judged for each beta on the ticket of the last round up to which no fewer latents are active than in the dense network: more "
        "than 80 % of what is emptied was inactive, and more than 80 % of what was inactive is emptied. Networks without an inactive "
        "latent do not count, nor those of which the first round silences one.",
    )
    def masks_find_the_inactive(self, table: Evidence) -> Iterable[Effect]:
        for variant in self.variants:
            rows = table.only(variant=variant)
            kept, able = self._before_silence(rows.table), rows.table[(rows.table.level == 0) & (rows.table.inactive > 0)]
            none = "" if len(able) else "no latent is inactive: give more latents, or a greater beta"
            if len(able) >= LEAST_UNITS > len(kept):
                none = f"of {len(able)} networks with an inactive latent the first round silences others in {len(able) - len(kept)}"
            for name, column in (("emptied latents that were inactive", "precision"), ("inactive latents that are emptied", "recall")):
                yield rows.effect(f"{name}, above 80 %", "pp", 100 * kept[column] - 80, lacks=self.collapsed(rows) or none)

    def _before_silence(self, table: Frame) -> Frame:
        """The ticket of the last round up to which no latent has fallen silent, of each replicate that has an inactive latent."""
        import pandas as pd

        found = []
        for _, own in table.sort_values("level").groupby("replicate"):
            loud = own[(own.latents_active >= own.latents_active.iloc[0]).cummin()]
            found += [loud.tail(1)] if len(loud) > 1 and loud.inactive.iloc[0] > 0 else []
        return pd.concat(found).set_index("replicate") if found else table.iloc[:0]
