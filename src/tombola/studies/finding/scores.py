"""Scores beyond magnitude: what they are worth without retraining, and what is left of it after rewinding and retraining."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tombola.studies import Action, Effect, Figure, Measurement, Panel, Results, Row, Run, Step, Values, dense_run, pruned_mask, study
from tombola.studies.claims import claim
from tombola.studies.effort import efforts
from tombola.studies.evidence import Evidence, hardest
from tombola.studies.moving.common import Rewound, labels
from tombola.studies.tickets import ACC_FINAL, Each, Several, Share, reinitialised, run_metrics

SCORES = {
    "large_final": "magnitude",
    "movement": "movement",
    "snip": "Taylor",
    "optimal_brain_damage": "brain damage (Fisher)",
    "optimal_brain_surgeon": "brain surgeon",
    "compensated": "brain surgeon, others make up",
    "random": "random",
}
UNITS = {"units_norm": "units by norm", "units_activity": "units by activity", "units_fisher": "units by Fisher"}
OF_UNITS = {"units_norm": "large_final", "units_activity": "activity", "units_fisher": "optimal_brain_damage"}
TIMED = ("large_final", "units_norm")
"""Arms whose networks' passes are timed: units of all arms leave layers of the same widths."""
FASTER = 1.1
"""A pass is faster that takes so many times less."""
PRUNED = Panel("acc_pruned", "test accuracy without retraining (%)", 100)


@study("finding.scores", task="digits-mlp", answers="By what score should weights go, with and without retraining?")
class Scores(Rewound):
    """The dense network pruned once by each score, as it is then, and rewound and retrained; units likewise, with a re-initialisation.

    `optimal_brain_surgeon` removes by the surgeon's scores; `compensated` moves the others as well, and is not retrained. Scores are
    compared across layers where the scope is global; those of units are ranked in each layer.
    """

    scales = {"smoke": {"replicates": 2, "densities": (0.1,), "scores": ("large_final", "optimal_brain_damage"), "units": ("units_norm",)}}
    columns = (*Rewound.columns, "acc_pruned", "speedup")
    variants = {"weights": "single weights", "units": "whole units"}

    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02)
    scores: Several[str] = tuple(SCORES)
    """The ways of ranking single weights that are compared."""
    units: Each[str] = tuple(UNITS)
    """The ways of ranking whole units that are compared."""
    unit_shares: tuple[Share, ...] = (0.5, 0.2)
    """The shares of a layer's units that are kept."""

    @property
    def arms(self) -> Mapping[str, str]:
        units = {f"{name}{control}": label + said for name, label in UNITS.items() if name in self.units for control, said in
                 (("", ""), ("/reinit", ", fresh weights"))}  # fmt: skip
        return labels(SCORES, self.scores) | units

    def rows(self) -> Iterable[Row]:
        """The retrained networks; each with the run that shows it without retraining."""
        for replicate in range(self.replicates):
            dense = dense_run(self, replicate)
            for variant, arms, places in (("weights", SCORES, self.densities), ("units", UNITS, self.unit_shares)):
                own = [arm for arm in self.arms if arm.partition("/")[0] in arms]
                for arm in own:
                    if arm == own[0]:
                        yield Row(arm, replicate, 0, dense, variant=variant)
                    for level in range(1, len(places) + 1):
                        run = self.retrained(dense, arm, level)
                        of = run.at("end"), run.its_mask()
                        timed = Measurement(task=run.task, seed=run.seed, name="pass_time", of=of) if arm in TIMED else None
                        yield Row(arm, replicate, level, run, variant=variant, measurement=timed)
                        if "/" not in arm:
                            yield Row(f"{arm}:bare", replicate, level, self.bare(dense, arm, level), variant=variant)

    def mask(self, dense: Run, arm: str, level: int) -> Action:
        """The mask that an arm's score leaves."""
        name = arm.partition("/")[0]
        if name in UNITS:
            norm = "l1" if name == "units_fisher" else "l2"  # a unit's Fisher damage is the sum of its weights'
            pruning = self.pruned(self.unit_shares[level - 1], criterion=OF_UNITS[name], structure="units", norm=norm)
            return pruned_mask(pruning.but(scope="layer"), dense, dense)
        criterion = "optimal_brain_surgeon" if name == "compensated" else name
        return pruned_mask(self.pruned(self.densities[level - 1], criterion=criterion), dense, dense)

    def retrained(self, dense: Run, arm: str, level: int) -> Run:
        """Rewound and trained; of `compensated`, whose masks are the surgeon's, the same run."""
        run = self.rewound(dense, self.mask(dense, arm, level))
        return reinitialised(run, level) if arm.endswith("/reinit") else run

    def bare(self, dense: Run, arm: str, level: int) -> Run:
        """The pruned network: the first evaluation of a run from the final weights, which trains for one step alone."""
        name = "brain_surgery" if arm == "compensated" else "rewind"
        kept = Action(name=name, of=(dense.at("end"),))
        return dense.but(mask=self.mask(dense, arm, level), kept=kept, until=Step("1it"))

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        if ":" in row.arm:
            return []
        values = {**run_metrics(row, results), **efforts(row.run, results)}
        if "/" not in row.arm:
            dense = dense_run(self, row.replicate)
            bare, first = (self.bare(dense, row.arm, row.level), 0) if row.level else (dense, -1)
            values["acc_pruned"] = results[bare].shown("test", first)
        if row.measurement is not None:
            values["speedup"] = float(results.of(row)["whole_seconds"] / results.of(row)["smaller_seconds"])
        return values

    def figures(self) -> Sequence[Figure]:
        caption = "Networks are pruned once, by scores of the trained dense network."
        title = "Scores without retraining, and after rewinding and retraining"
        timed = "Shown is how many times longer a pass with the whole network takes than one without its dead units."
        speed = Figure("speed", "What pruning saves of a pass", (Panel("speedup", "times faster"),), arms=TIMED, caption=timed)
        return [Figure("scores", title, (PRUNED, ACC_FINAL), caption=caption), speed]

    @claim(
        "SCORE-C1",
        "after Hassibi & Stork 1993",
        "Without retraining, at 10 % density and less, the surgeon is better than brain damage, and that better than magnitude.",
        note="The surgeon is the one that lets the other weights make up for those that are removed.",
    )
    def without_retraining(self, table: Evidence) -> Iterable[Effect]:
        table = table.only(variant="weights")
        small = table.levels(0, 0.1001)
        yield table.above("compensated", "optimal_brain_damage", PRUNED, small)
        yield table.above("optimal_brain_damage", "large_final", PRUNED, small)

    @claim(
        "SCORE-C2",
        "proposed here",
        "After rewinding and retraining, the gap between the surgeon, brain damage and magnitude shrinks below half a percentage point: a "
        "good network without retraining is not a better ticket.",
        note="It is judged both ways: neither of the two may be more than half a point below the other.",
    )
    def after_retraining(self, table: Evidence) -> Iterable[Effect]:
        table = table.only(variant="weights")
        small = table.levels(0, 0.1001)
        better = ("optimal_brain_surgeon", "optimal_brain_damage")
        yield from hardest(table.within("large_final", arm, ACC_FINAL, small, allowed=0.5) for arm in better)
        yield from hardest(table.within(arm, "large_final", ACC_FINAL, small, allowed=0.5) for arm in better)

    @claim(
        "SCORE-C3",
        "after Liu et al. 2019",
        "Where whole units are pruned, fresh initial weights are as good as the ticket's own.",
        note="As good means less than the margin below, over all shares of units together.",
    )
    def units_need_no_ticket(self, table: Evidence) -> Iterable[Effect]:
        shares = list(range(1, len(self.unit_shares) + 1))
        rows = table.only(variant="units")
        yield from hardest(rows.within(f"{arm}/reinit", arm, ACC_FINAL, shares) for arm in UNITS)

    @claim(
        "SCORE-C4",
        "proposed here",
        "A pass takes less time where whole units are pruned, and not where single weights are, down to 2 % of them.",
        note="Less means by a tenth. The network without its dead units and the whole one are timed by turns, each by the fastest of "
        "20 passes over 4,096 examples. Single weights are judged at 10 % density and less, pruned by magnitude; a product that "
        "leaves out zeros is not tried. Units are judged at all shares.",
    )
    def units_save_time(self, table: Evidence) -> Iterable[Effect]:
        weights, units = (table.only(variant=variant) for variant in self.variants)
        shares, small = list(range(1, len(self.unit_shares) + 1)), weights.levels(0, 0.1001)
        for rows, arm, at, sign, said in ((units, TIMED[1], shares, 1, "more"), (weights, TIMED[0], small, -1, "no more")):
            ratio = np.log2(rows.of("speedup", arm, at) / FASTER)
            lacks = rows.lacking((arm,), "speedup", at) or ("the network cannot be made smaller" if ratio.isna().all(axis=None) else "")
            yield rows.effect(f"{rows.called(arm)}: faster by {said} than a tenth", "log2 ratio", sign * ratio, lacks=lacks)
