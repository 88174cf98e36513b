"""Detectors of the stable phase, calibrated on other settings, against the onset of stability."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.core.task import Detect
from tombola.evaluation.statistics import rank_correlation
from tombola.studies import Effect, Evidence, Figure, Panel, Row, Run, Values, aside, claim, hardest, study
from tombola.studies.phases.calibration import calibrated, fired, partial_rank_correlation
from tombola.studies.phases.common import HALF_A_PLACE, Settings, log2_of, no_onset
from tombola.studies.results import Column, Results

RULES = {"fixed_step": "fixed step", "fixed_share": "fixed share of training", "fixed_loss": "fixed training loss"}
ARMS = {
    "divergence": "short-horizon divergence",
    "sign_changes": "changes of sign",
    "cosine": "cosine of displacements",
    "mask_distance": "distance of magnitude masks",
    "barrier": "barrier to the stop before",
    "kernel": "tangent kernel",
    "sharpness": "sharpness",
    "edge": "sharpness over its edge",
    "gradient_share": "gradient in the top subspace",
    "loss_spike": "loss spike",
    **RULES,
}
ALL = "all settings"
FOLLOWS, LEAST_DROP = 0.7, 0.1
"""Rank correlation from which on a detector ranks onsets; what a correlation has to lose to depend on another column."""
FEWEST = 10
"""Settings over which correlations are judged."""


@study(
    "phases.detectors",
    task="digits-noise-mlp",
    answers="Can the end of the unstable phase be seen while a network trains, without training children?",
)
class Detectors(Settings):
    """The step at which each detector fires, its level calibrated on the other settings of the same replicate, against the onset."""

    columns = ("onset", "after", "log2_onset", "detected", "log2_detected", "threshold", "rho", "partial_rho", "log2_error", "premature")
    arms = ARMS

    detectors: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(ARMS)
    """The detectors that are compared."""

    def watched(self, name: str, replicate: int) -> Run:
        """The dense run of a setting with all detectors, which look at the steps k."""
        first, *others = self.detectors
        steps = self.searches[name].steps
        detect = Detect(name=first, beside=tuple(others), at=steps)
        run = self.dense(name, replicate)
        return run.but(task=run.task.but(recipe=run.task.recipe.but(detect=detect)))

    def rows(self) -> Iterable[Row]:
        """The watched runs, then those of the search."""
        for replicate in range(self.replicates):
            yield from (Row("watched", replicate, 0, self.watched(name, replicate), variant=name) for name in self.tasks)
        yield from super().rows()

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """All settings of a replicate at once, with its first: a row for each setting and detector, and one over all settings."""
        names = list(self.tasks)
        if row.arm != "watched" or row.variant != names[0]:
            return []
        onsets = {name: self.onset_of(name, row.replicate, results) for name in names}
        signals = {name: results[self.watched(name, row.replicate)].signals for name in names}
        ends = {name: (signals[name]["step"][0], signals[name]["step"][-1]) for name in names}
        logs = {name: np.append(np.log2(signals[name]["step"]), log2_of(np.inf, *ends[name])) for name in names}
        log2_onset = [onsets[name]["log2_onset"] for name in names]
        found = {arm: self._told(arm, names, signals, logs, onsets) for arm in self.detectors}
        by_loss = [one["log2_detected"] for one in found.get("fixed_loss", [])]
        over_all: list[Values] = []
        for arm, rows in found.items():
            log2 = [one["log2_detected"] for one in rows]
            own = {"log2_error": float(np.median([one["log2_error"] for one in rows])), "rho": rank_correlation(log2, log2_onset)}
            if by_loss and arm != "fixed_loss":
                own["partial_rho"] = partial_rank_correlation(log2, log2_onset, by_loss)
            over_all.append({"variant": ALL, "arm": arm, "premature": float(np.mean([one["premature"] for one in rows])), **own})
        return [*over_all, *(one for rows in found.values() for one in rows)]

    def _told(
        self,
        arm: str,
        names: Sequence[str],
        signals: Mapping[str, Mapping[str, np.ndarray]],
        logs: Mapping[str, np.ndarray],
        onsets: Mapping[str, Mapping[str, float]],
    ) -> list[Values]:
        """What a detector says of each setting with the level that is best on the others."""
        found: list[Values] = []
        for name in names:
            others, onset = [one for one in names if one != name] or list(names), onsets[name]
            rule = calibrated(
                [signals[one][arm] for one in others], [logs[one] for one in others], [onsets[one]["log2_onset"] for one in others]
            )
            place = fired(signals[name][arm], rule)
            step, log2 = float(np.append(signals[name]["step"], np.inf)[place]), float(logs[name][place])
            told = {"detected": step, "log2_detected": log2, "threshold": rule.level, "log2_error": abs(log2 - onset["log2_onset"])}
            told |= {column: onset[column] for column in ("onset", "after", "log2_onset")}
            found.append({"variant": name, "arm": arm, "premature": float(log2 < onset["log2_onset"] - HALF_A_PLACE), **told})
        return found

    def figures(self) -> Sequence[Figure]:
        over = (
            Panel("rho", "rank correlation with the onset"),
            Panel("log2_error", "median error (octaves)"),
            Panel("premature", "settings told too early (%)", 100),
        )
        caption = f"All {len(self.tasks)} settings are pooled; levels are calibrated on a replicate's other settings. {self.evaluated}"
        across = Panel("log2_onset", "log2 of the onset of stability")
        shown = tuple(arm for arm in ("divergence", "kernel", "mask_distance", "fixed_loss") if arm in self.detectors)
        against = Panel("log2_detected", "log2 of the detected step")
        return (
            Figure("ranks", "How well each detector tells the onset of stability", over, variants=(ALL,), caption=caption),
            Figure("detected", "Detected steps against the onset", (against,), "scatter", across=across, arms=shown, caption=caption),
        )

    def _rho(self, table: Evidence, arm: str, column: str = "rho") -> Column:
        own = table.table[(table.table.variant == ALL) & (table.table.arm == arm)]
        return own.set_index("replicate")[column].astype(float)

    def _lacks(self, table: Evidence, *arms: str) -> str:
        if missing := [arm for arm in arms if arm not in self.detectors]:
            return f"detector {missing[0]} was not run"
        few = f"{len(self.tasks)} settings; it takes {FEWEST}" if len(self.tasks) < FEWEST else ""
        return few or no_onset(table.table.onset.dropna())

    @claim(
        "PHASE-C1",
        "ours",
        "The divergence of a slightly moved copy over a short horizon ranks settings by their onset of stability, and better than a fixed "
        "training loss does.",
        note=f"For each replicate, the rank correlation over settings has to be above {FOLLOWS:g}. For better any difference counts. "
        "The other fixed rules are shown beside it.",
    )
    def divergence_ranks(self, table: Evidence) -> Iterable[Effect]:
        rho, lacks = self._rho(table, "divergence"), self._lacks(table, "divergence", "fixed_loss")
        yield table.effect("divergence: rank correlation with the onset", "", rho, least=FOLLOWS, lacks=lacks)
        for arm, label in reversed(RULES.items()):
            effect = table.effect(
                f"divergence above {label}", "", rho - np.nan_to_num(self._rho(table, arm)) if not lacks else [], lacks=lacks
            )
            yield effect if arm == "fixed_loss" else aside(effect)

    @claim(
        "PHASE-C2",
        "ours",
        "Detectors that look at the mask or at the loss follow how fast a network learns: given the step at which the training loss is "
        "reached, they tell less of the onset.",
        note="It is judged by what the rank correlation loses when the step of the fixed training loss is held constant: that has to "
        f"be above {LEAST_DROP:g}. The detector that loses least is judged.",
    )
    def confounded_with_loss(self, table: Evidence) -> Iterable[Effect]:
        arms, effects = ("mask_distance", "sign_changes", "loss_spike"), []
        for arm in arms:
            lacks = self._lacks(table, arm, "fixed_loss")
            drop = self._rho(table, arm) - self._rho(table, arm, "partial_rho") if not lacks else []
            effects.append(table.effect(f"{ARMS[arm]}: correlation lost", "", drop, least=LEAST_DROP, lacks=lacks))
        yield from hardest(effects)
