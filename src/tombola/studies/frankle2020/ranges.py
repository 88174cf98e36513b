"""Ranges of sparsity: where any sparse network matches, where only tickets do, where none does (section 5, figures 7 and 8)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tombola.evaluation.paired import densities
from tombola.studies import Effect, Evidence, Figure, Measurement, Panel, Results, Step, Task, TombolaError, claim
from tombola.studies.base import Row, Scale, Values, study
from tombola.studies.frankle2020.common import EXTREME, network
from tombola.studies.frankle2020.grid import PLACES, Grid, Place
from tombola.studies.frankle2020.trends import settled

BOUNDS = {"ResNet-20": (0.79, 0.13), "VGG-16": (0.16, 0.0112)}
"""Densities above which any network matches, and above which tickets do: the paper's, 80.0 and 13.4, 16.8 and 1.2 %, each moved off
the density at which it lies."""
OTHERWISE = (0.5, 0.05)


@study(
    "frankle2020.ranges",
    task="digits-noise-mlp",
    answers="At which densities does any sparse network match, at which only tickets, and how does the onset of stability change?",
)
class Ranges(Grid):
    """Accuracy and instability against density, rewound to one step k; onset of stability and of matching against density."""

    columns = (*Grid.columns, "stable_onset", "stable_place", "matching_onset", "matching_place")
    arms = {arm: label for arm, label in Grid.arms.items() if arm != "dense"}
    variants = {}
    counted = "rounds"

    rewind: Step | None = None
    """The step k whose networks are shown, one of `k`. None: the last but two, which is an eighth of training where `k` is not set."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        """The fields at a scale, with rounds from the first to beyond the paper's density, or to 5 %."""
        rounds = range(1, EXTREME[task.name] + 7, 3) if task.name in EXTREME else range(1, 15, 2)
        return {**super().at(scale, task), **({} if scale == "smoke" else {"compared": tuple(rounds)})}

    @property
    def shown(self) -> Step:
        """The step whose networks are shown."""
        steps = self.steps
        found = self.rewind or steps[max(0, len(steps) - 3)]
        if found not in steps:
            raise TombolaError(f"rewind = {str(found)!r}, but k = {', '.join(steps)}; choose one of these")
        return found

    def rows(self) -> Iterable[Row]:
        """The rows of the grid at the shown step. Against density the dense network is where tickets begin."""
        shown = self.shown
        for place, rows in self.places.items():
            if place.k == shown:
                arm = "ticket" if place.arm == "dense" else place.arm
                yield from (replace(row, arm=arm, level=place.round, variant="") for row in rows)

    def measurements(self) -> Sequence[Measurement]:
        return [row.measurement for rows in self.places.values() for row in rows if row.measurement is not None]

    def measure(self, row: Row, results: Results) -> list[Values]:
        """The columns of all pairs of a place at the shown step, at its first; and from which of all steps on its arm is stable,
        and matches, at its density.
        """
        if row.draw:
            return []
        arm, steps = row.arm if row.level else "dense", self.steps
        by_step = [[self.of_pair(pair, results) for pair in self.places[Place(arm, row.replicate, row.level, k)]] for k in steps]
        instability, gap = ([float(np.mean([pair[name] for pair in pairs])) for pairs in by_step] for name in ("instability", "gap"))
        places = {
            "stable": settled([one < self.stable for one in instability]),
            "matching": settled([one >= -self.tolerance / 100 for one in gap]),
        }
        begins = [*(pairs[0]["step"] for pairs in by_step), float("inf")]
        onsets = {f"{name}_onset": begins[place] for name, place in places.items()}
        found = {**onsets, **{f"{name}_place": float(place) for name, place in places.items()}}
        return [{**pair, **found} for pair in by_step[steps.index(row.run.begin)]]

    def figures(self) -> Sequence[Figure]:
        steps = self.steps
        ticks = *(step.removesuffix("it") for step in steps), "never"
        onsets = (
            Panel("stable_place", "stable from step k on", ticks=ticks),
            Panel("matching_place", "matching from step k on", ticks=ticks),
        )
        title = f"Accuracy and instability against density, rewound to {self.shown}"
        other = "Step k from which on networks are stable, and from which on they match"
        return (
            Figure("ranges", title, (self.gap, self.barrier), caption=self.evaluated),
            Figure("onset", other, onsets, caption=f"Means are over the places of the steps k in their list. {self.evaluated}"),
        )

    @claim(
        "LMC-C11",
        "section 5, figure 7",
        "There are three ranges of sparsity: any sparse network matches, only networks of IMP with rewinding match, none matches.",
        about=lambda study: "" if network(study.task) in BOUNDS else "the claim is about ResNet-20 and VGG-16, at standard rates",
        note="The ranges are those between the densities that the paper gives for its two networks.",
    )
    def three_ranges(self, table: Evidence) -> Iterable[Effect]:
        trivial, matching = BOUNDS.get(network(self.task), OTHERWISE)
        middle = table.levels(matching, trivial)
        yield self.matches(table, "random", table.levels(trivial, 1), note="where any network matches")
        yield self.matches(table, "ticket", middle, note="where only tickets match")
        for control in ("random", "reinit"):
            yield self.matches(table, control, middle, False, note="where only tickets match")
        yield self.matches(table, "ticket", table.levels(0, matching), False, note="where none matches")

    @claim(
        "LMC-C12",
        "section 5, figure 8",
        "With growing sparsity, the onset of stability first comes earlier, then stays, then comes later.",
        note="That it stays is judged at 10 to 40 % density, and means that onsets are less than 1.5 places apart, which is our "
        "threshold. What is stable at no k counts as the end of the list. For earlier and later any difference counts.",
    )
    def falls_stays_rises(self, table: Evidence) -> Iterable[Effect]:
        place = table.of("stable_place", "ticket")
        middle = [level for level in table.levels(0.1, 0.4) if level in place.columns]
        last = max(place.columns, default=0)
        lacks = "" if 0 in place.columns and middle and last not in middle else "no density at 10 to 40 %, or none on either side, was run"
        place = place.reindex(columns=sorted({0, *middle, last}))
        lacks = lacks or ("" if place[0].mean() > 0 else "the dense network is stable from the first k on: no unstable phase")
        plateau, ends = place[middle], densities(table.table)
        spread = plateau.max(axis=1) - plateau.min(axis=1)
        yield table.effect("dense network: onset later than at 10 to 40 %", PLACES, place[0] - plateau.mean(axis=1), lacks=lacks)
        yield table.effect("10 to 40 %: onsets less than 1.5 places apart", PLACES, 1.5 - spread, lacks=lacks)
        name = f"{100 * ends.get(last, 0):.3g} %: onset later than at 10 to 40 %"
        yield table.effect(name, PLACES, place[last] - plateau.mean(axis=1), lacks=lacks)
