"""Sparsity by mask and by loss on common frontiers: reconstruction against weights, activity and units in use."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tombola.evaluation.paired import interpolated
from tombola.studies import Action, Effect, Evidence, Figure, Row, Run, Scale, Task, aside, claim, dense_run, study
from tombola.studies.autoencoders.common import ACTIVE, HOYER, LOST, MSE, PROBE, USED, WEIGHTS, Coded
from tombola.studies.tickets import Level, Several, Share, at_once

HELPS = "Settings count that lower what is compared by 5 % of the dense network's or more, and further than all weaker settings."
Strengths = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


@study("autoencoders.frontiers", task="digits-ae", answers="Is sparsity by a mask the same as sparsity by a term of the loss?")
class Frontiers(Coded):
    """One autoencoder with a code of sigmoids; each arm makes it sparse in its own way, at several strengths, from the weak to the strong.

    Every network trains for the task's whole budget, from the same initial weights. Masks are made at once from the dense network, so
    that they take one more training, which all of their strengths share.
    """

    paper = ""
    arms = {
        "dense": "dense",
        "weights": "mask of weights",
        "units": "mask of units",
        "gates": "learned unit gates",
        "kl": "KL on mean activity",
        "l1": "L1 on activity",
        "top_k": "top-k",
        "weight_l1": "L1 on weights",
    }
    scales = {"smoke": {"replicates": 2, "rounds": (10,), "unit_rounds": (3,), "shares": (0.25,), "probed": 200}}
    chosen = {"structure": "arms of both structures are there"}

    rounds: Several[Level] = (3, 6, 10, 14)
    """How many rounds' weights each mask of weights takes at once."""
    unit_rounds: Several[Level] = (1, 2, 4, 7)
    """How many rounds' units each mask of whole units takes at once."""
    gate_strengths: Strengths = (0.01, 0.02, 0.05, 0.1)
    """Values of lambda, the strength of the term `gate_l0`. All strengths are for the digits; for larger pictures they are ten times as
    much."""
    kl_strengths: Strengths = (0.1, 0.3, 1.0, 3.0)
    """Values of beta, the strength of the term `activity_kl`, with rho = 0.05."""
    activity_strengths: Strengths = (0.03, 0.1, 0.3, 1.0)
    """Values of lambda, the strength of the term `activity_l1`."""
    weight_strengths: Strengths = (0.0003, 0.001, 0.003, 0.01)
    """Values of lambda, the strength of the term `weight_l1`."""
    shares: tuple[Share, ...] = (0.75, 0.5, 0.25, 0.125)
    """Shares of the code's units that `top_k` keeps; one unit at least."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        names = ("gate_strengths", "kl_strengths", "activity_strengths", "weight_strengths")
        found = {name: cls.model_fields[name].default for name in names}
        if scale == "smoke":
            found = {name: strengths[:1] for name, strengths in found.items()}
        if task.data.name != "digits":
            found = {name: tuple(float(f"{10 * one:g}") for one in strengths) for name, strengths in found.items()}
        return {**cls.scales.get(scale, {}), **found}

    @property
    def base(self) -> Task:
        """The dense network's task."""
        return self._with(activation="sigmoid")

    def _with(self, **options: Any) -> Task:
        model = self.task.model
        return self.task.but(model=model.but(options={**model.options, "activation": "sigmoid", **options}))

    def rows(self) -> Iterable[Row]:
        units = self._units()
        for replicate in range(self.replicates):
            dense = dense_run(self, replicate, self.base)
            yield self.row("dense", replicate, 0, dense)
            for arm, structure, rounds in (("weights", "weights", self.rounds), ("units", "units", self.unit_rounds)):
                for level, count in enumerate(rounds, 1):
                    yield self.row(arm, replicate, level, self._masked(dense, structure, count))
            loss: dict[str, list[Task]] = {
                "gates": [self._gated(strength) for strength in self.gate_strengths],
                "kl": [self._term(activity_kl=strength) for strength in self.kl_strengths],
                "l1": [self._term(activity_l1=strength) for strength in self.activity_strengths],
                "top_k": [self._with(top_k=max(1, round(share * units))) for share in self.shares],
                "weight_l1": [self._term(weight_l1=strength) for strength in self.weight_strengths],
            }
            for arm, tasks in loss.items():
                for level, task in enumerate(tasks, 1):
                    yield self.row(arm, replicate, level, dense_run(self, replicate, task))

    def dense_of(self, row: Row) -> Run:
        return dense_run(self, row.replicate, self.base)

    def _units(self) -> int:
        widths = self.task.model.options.get("widths", (128,))
        return int(widths[len(widths) // 2] if self.task.model.name == "autoencoder" else widths[-1])

    def _term(self, **terms: float) -> Task:
        return self.base.but(objective=self.task.objective.but(**terms))

    def _gated(self, strength: float) -> Task:
        return self._with(gates=True).but(objective=self.task.objective.but(gate_l0=strength))

    def _masked(self, dense: Run, structure: str, rounds: int) -> Run:
        back = Action(name="rewind", of=(dense.at(self.pruning.rewind),))
        mask = at_once(self.pruning.but(structure=structure), dense, rounds)
        return dense.but(mask=mask, kept=back, begin=self.pruning.rewind)

    def figures(self) -> Sequence[Figure]:
        at = "Each method makes networks sparse in its own way, from weakly to strongly, in the same number of steps."
        weights = f"{at} A weight is in use above a hundredth of the largest of its kernel."
        activity = f"{at} A unit is on above a tenth of its largest activity."
        units = f"{at} A unit is in use if its activity is not the same for all test examples."
        return [
            Figure("activity", "Reconstruction against activity", (MSE,), "scatter", across=ACTIVE, caption=activity),
            Figure("weights", "Reconstruction against weights in use", (MSE,), "scatter", across=WEIGHTS, caption=weights),
            Figure("units", "Reconstruction against units in use", (MSE,), "scatter", across=USED, caption=units),
            Figure("two", "Two kinds of sparsity", (ACTIVE,), "scatter", across=WEIGHTS, caption=at),
            Figure("probe", "What a linear probe reads off the code", (PROBE, HOYER), "scatter", across=LOST, caption=at),
        ]

    # -- claims --------------------------------------------------------------------------------------------------------

    @claim(
        "AE-C5",
        "a question of Tombola's",
        "Masks of weights do not make activity sparse, and KL terms and top-k do not make weights sparse: they are two sparsities.",
        note="At about 10 % density the share of units that are on has to be within a tenth of the dense network's. At the strongest "
        "setting of the term and of top-k, more than nine tenths of the weights that the dense network uses have to be in use.",
    )
    def two_sparsities(self, table: Evidence) -> Iterable[Effect]:
        lacks, dense = self.collapsed(table), table.of("active", "dense").iloc[:, 0]
        level = 1 + min(range(len(self.rounds)), key=lambda index: abs(self.rounds[index] - 10))
        for arm in ("weights", "units"):
            change = (table.of("active", arm, [level])[level] / dense - 1).abs()
            share = table.effect(
                f"{self.arms[arm]}: activity changes less than 10 % of the dense network's", "pp", 10 - 100 * change, lacks=lacks
            )
            yield share if arm == "weights" else aside(share)
        used = table.of("weights_used", "dense").iloc[:, 0]
        for arm, count in (("kl", len(self.kl_strengths)), ("top_k", len(self.shares))):
            kept = table.of("weights_used", arm, [count])[count] / used
            yield table.effect(f"{self.arms[arm]}: weights in use, above 90 % of the dense network's", "pp", 100 * kept - 90, lacks=lacks)

    @claim(
        "AE-C6",
        "a question of Tombola's",
        "At the same share of units that are on, top-k reconstructs best, then the KL term, then L1, which shrinks activities.",
        note="Two ways are compared by the share of the way to the mean picture that each loses. That of the first is interpolated "
        "at the activities of the second, linearly in their logarithm; settings that the first does not reach are left out. Any "
        f"difference counts. {HELPS}",
    )
    def top_k_is_best(self, table: Evidence) -> Iterable[Effect]:
        for better, worse in (("top_k", "kl"), ("kl", "l1")):
            yield self._better(table, better, worse, "active")

    @claim(
        "AE-C7",
        "a question of Tombola's",
        "With as many units in use, masks of units are as good as the KL term.",
        note=f"As good is to lose no more than 2 % of the way to the mean picture in addition. Learned gates are shown beside it. {HELPS}",
    )
    def unit_masks_reach_kl(self, table: Evidence) -> Iterable[Effect]:
        for arm in ("units", "gates"):
            found = self._better(table, arm, "kl", "used", 100 * self.margin)
            yield found if arm == "units" else aside(found)

    def _frontier(self, table: Evidence, arm: str, x: str) -> list[int]:
        """An arm's settings that lower the mean of `x` by a twentieth of the dense network's, and further than all weaker ones."""
        values = table.of(x, arm).mean()
        found, least = list[int](), 0.95 * float(table.of(x, "dense").mean(axis=1).mean())
        for level, value in values.items():
            if value < least:
                found, least = [*found, int(level)], value
        return found

    def _better(self, table: Evidence, better: str, worse: str, x: str, allowed: float = 0.0) -> Effect:
        """How much less one arm loses than another, at the other's settings of `x`; the dense network is one arm's weakest setting."""
        import pandas as pd

        all_rows, at = table.table, {arm: self._frontier(table, arm, x) for arm in (better, worse)}
        kept = [all_rows[(all_rows.arm == arm) & all_rows.level.isin(levels)] for arm, levels in at.items()]
        own = pd.concat([*kept, all_rows[all_rows.arm == "dense"].assign(arm=better)])
        first, second = 100 * interpolated(own, "lost", better, worse, x), table.of(LOST, worse, at[worse])
        gain = (second - first).mean(axis=1)
        useless = [self.arms[arm] for arm, levels in at.items() if not levels]
        lacks = self.collapsed(table) or (f"no room: no setting of {useless[0]} lowers {x} by 5 %" if useless else "")
        lacks = lacks or ("" if np.isfinite(gain).any() else f"no setting of one reaches the other's, by {x}")
        name = f"{self.arms[better]} loses {f'less than {allowed:g} pp more' if allowed else 'less'} than {self.arms[worse]}"
        return table.effect(name, "pp", gain + allowed, lacks=lacks)
