"""Tickets rewound to the step at which a detector saw the stable phase begin."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from tombola.core.keys import replicate_seed
from tombola.core.task import Detect, Detecting
from tombola.procedures.imp import imp_runs
from tombola.studies import Effect, Figure, Panel, Row, Run, Step, Values, study
from tombola.studies.claims import claim
from tombola.studies.evidence import CENSORED, Evidence, aside
from tombola.studies.frankle2020.common import SMOKE
from tombola.studies.phases.common import Settings
from tombola.studies.phases.settings import BASE
from tombola.studies.results import Column, Frame, Results
from tombola.studies.tickets import Level, PruningStudy, margin

COMPARED = (BASE, "rate / 4", "rate x 2", "no label noise", "60 % label noise", "width x 2", "momentum", "batch x 4")
WITHIN, AGREE = 0.5, 0.75
"""pp that a ticket may be below the best; the share of settings in which two properties have to agree to go together."""


@study(
    "phases.rewind",
    task="digits-noise-mlp",
    answers="Is the step at which a detector fires a good one to rewind tickets to?",
)
class Rewind(PruningStudy, Settings):
    """Accuracy of tickets rewound to several steps, and to the detected one, by setting."""

    chosen = {"rewind": "tickets are rewound to `tried`, and to the detected step"}
    scales = {
        "smoke": {**SMOKE, "k": ("0it", "10it", "50it"), "settings": (BASE,), "rounds": 1, "tried": ("0it", "10it")},
        "small": {"replicates": 6, "children": 2, "points": 11, "settings": COMPARED},
    }
    columns = ("step", "acc_final", "gap", "onset", "barrier", "cost")
    arms = {"ticket": "rewound to step k", "detected": "rewound to the detected step", "watched": "dense network"}
    counted = "steps"

    rounds: Level = 6
    """Rounds of pruning."""
    tried: tuple[Step, ...] = ()
    """The steps that tickets are rewound to. If none is named, they are 0 and 1/64, 1/32, ..., 1/4 of training."""
    detector: Detecting = Detect(name="divergence")
    """The detector that looks at the steps k."""

    def tickets_at(self, name: str, replicate: int, k: Step) -> Run:
        """The ticket of a setting that is rewound to k."""
        pruning = self.pruning.but(rewind=k)
        return imp_runs(self.tasks[name], replicate_seed(self.seed, replicate), self.rounds, pruning)[-1]

    def steps_tried(self, name: str) -> tuple[Step, ...]:
        """The steps that tickets of a setting are rewound to."""
        length = self.tasks[name].recipe.steps
        return self.tried or (Step("0it"), *(length.times(2.0**-power) for power in range(6, 1, -1)))

    def watched(self, name: str, replicate: int) -> Run:
        """The dense run of a setting with the detector."""
        run = self.dense(name, replicate)
        detect = self.detector.but(at=self.searches[name].steps)
        return run.but(task=run.task.but(recipe=run.task.recipe.but(detect=detect)))

    def rows(self) -> Iterable[Row]:
        """The watched runs, tickets at every step that is tried, and the search for the onset."""
        for name in self.tasks:
            for replicate in range(self.replicates):
                yield Row("watched", replicate, 0, self.watched(name, replicate), variant=name)
                for level, k in enumerate(self.steps_tried(name)):
                    yield Row("ticket", replicate, level, self.tickets_at(name, replicate, k), variant=name)
        yield from super().rows()

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        """Tickets that are rewound to the detected step."""
        yield from super().more(rows, results)
        for row in [one for one in rows if one.arm == "watched"]:
            if np.isfinite(step := results[row.run].summary["detected"]):
                yield replace(row, arm="detected", run=self.tickets_at(row.variant, row.replicate, Step(int(step))))

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The values of a ticket: its step, its accuracy, alone and less the dense network's; and the onset of its dense network."""
        if row.arm not in ("ticket", "detected"):
            return []
        ticket, dense = results[row.run], results[self.dense(row.variant, row.replicate)]
        found = self.onset_of(row.variant, row.replicate, results)
        searched = self.rounds * sum(
            ticket.end - results[self.tickets_at(row.variant, row.replicate, k)].begin for k in self.steps_tried(row.variant)
        )
        return {
            "step": ticket.begin,
            "acc_final": ticket.shown("test"),
            "gap": ticket.shown("test") - dense.shown("test"),
            "onset": found["onset"],
            "barrier": found["barrier"],
            "cost": ticket.end / searched if row.arm == "detected" else np.nan,
        }

    def figures(self) -> Sequence[Figure]:
        panel = Panel("gap", "test accuracy - dense (pp)", 100)
        title = "Tickets rewound to step k, and to the detected one"
        loss, said = Panel("val_loss", "validation loss"), f"Tickets are those after {self.rounds} rounds of pruning. {self.evaluated}"
        return (
            Figure("rewind", title, (panel,), x="step", arms=("ticket", "detected"), caption=said),
            Figure("curves", "Dense networks, where the detector fired, their tickets", (loss,), "curves", arms=("watched", "detected")),
        )

    def _accuracy(self, table: Evidence, arm: str, name: str) -> Frame:
        return table.only(variant=name).of(Panel("acc_final", "", 100), arm)

    @claim(
        "PHASE-C4",
        "ours",
        "Tickets rewound to the detected step are as good as those rewound to the best step that a search finds.",
        note=f"As good means within {WITHIN:g} pp, by the mean over settings. The best step of a setting is the one of the highest "
        "mean accuracy. A detector costs one watched run, whatever it finds; what that is as a share of what the search trains "
        "is shown beside it.",
    )
    def as_good_as_the_best(self, table: Evidence) -> Iterable[Effect]:
        import pandas as pd

        apart, total = [], 0
        for name in self.tasks:
            tried, detected = self._accuracy(table, "ticket", name), self._accuracy(table, "detected", name)
            total += len(tried)
            if tried.shape[1] and detected.shape[1]:
                apart.append(detected.iloc[:, 0] - tried[tried.mean().idxmax()])
        found = pd.concat(apart, axis=1) if apart else pd.DataFrame()
        seen = float(found.notna().to_numpy().sum()) / max(1, total)
        lacks = "" if 1 - seen <= CENSORED else f"the detector fired in {100 * seen:.0f} % of the networks"
        name = f"detected less than {WITHIN:g} pp below the best step: test accuracy at the end"
        yield table.effect(name, "pp", found.mean(axis=1) + WITHIN if apart else [], lacks=lacks)
        yield aside(table.effect("detected above rewinding to 0: test accuracy", "pp", self._above_zero(table)))
        cost = 100 * table.table[table.table.arm == "detected"].groupby("replicate").cost.mean()
        yield aside(table.effect("cost of detection, of that of the search", "%", cost))

    def _above_zero(self, table: Evidence) -> "Column | list[float]":
        apart = [
            self._accuracy(table, "detected", name).mean(axis=1) - self._accuracy(table, "ticket", name)[0]
            for name in self.tasks
            if 0 in self._accuracy(table, "ticket", name)
        ]
        return sum(apart[1:], apart[0]) / len(apart) if apart else []

    @claim(
        "PHASE-C5",
        "after Frankle et al. 2020, section 4",
        "Settings that are stable from the first step on are those whose tickets match without rewinding.",
        note=f"It is judged, for each replicate, by the share of settings in which the two agree: that has to be above {AGREE:g}. To "
        "match is to be within the margin of the dense network; both kinds of setting are needed.",
    )
    def stable_from_the_start(self, table: Evidence) -> Iterable[Effect]:
        own = table.table[(table.table.arm == "ticket") & (table.table.level == 0)]
        stable, matches = own.barrier < self.stable, 100 * own.gap >= -margin(self.task)
        kinds = {name: bool(of.mean() > 0.5) for name, of in stable.groupby(own.variant)}
        lacks = "" if len(set(kinds.values())) == 2 else "settings of one kind only: all stable from the start, or none"
        yield table.effect(
            "settings in which the two agree", "", (stable == matches).groupby(own.replicate).mean(), least=AGREE, lacks=lacks
        )
