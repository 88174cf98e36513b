"""The table of a study as claims see it.

`Evidence` owns what every effect needs, so that no claim has to think of it: levels, pairing by replicate, the name, arms that
were not run, and the preconditions without which nothing is judged.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tombola.evaluation import paired
from tombola.evaluation.verdict import Effect
from tombola.studies.figure import Panel
from tombola.studies.results import Column, Frame
from tombola.studies.testbeds import margin, near_chance, resolution

DENSE = "dense"
"""The name, in place of an arm, of the unpruned network: level 0 of the arm that it is compared with, or of the first that has one."""
CENSORED = 0.25
"""Share of early stops at the last evaluation, above which no early stop is judged: training was too short."""
EARLY = ("es_iteration", "acc_es")
"""Columns that read an early stop."""


class Evidence:
    """The table of a study, and the effects that claims rest on."""

    def __init__(self, study: Any, table: Frame, variant: str = "") -> None:
        """`variant`: the one that the table is of, if it is of one: names of effects say it."""
        self.study, self.table, self.variant = study, table, variant

    def only(self, **equal: Any) -> "Evidence":
        """The same of those rows whose columns have the values: ``only(variant="sgd")``."""
        table = self.table
        for column, value in equal.items():
            table = table[table[column] == value]
        return Evidence(self.study, table, equal.get("variant", self.variant))

    @property
    def margin(self) -> float:
        """What counts as no difference of accuracy, in pp: the study's own, if it has one."""
        return margin(self.study.task, getattr(self.study, "margin", None))

    @property
    def resolution(self) -> float:
        """One test example, in pp."""
        return resolution(self.study.task)

    # -- levels and columns ------------------------------------------------------------------------------------------

    def levels(self, low: float, high: float) -> list[int]:
        """Levels of density above `low` and up to `high`, the dense one left out."""
        return paired.levels_within(self.table, low, high)

    def of(self, metric: Panel | str, arm: str, at: Sequence[int] | None = None) -> Frame:
        """Replicates x levels of an arm's metric, on its axis' scale; without columns if the arm was not run.

        Args:
            metric: a panel, or a column of the table as it stands.
            arm: or `DENSE`: then one column, level 0.
            at: those of these levels that the arm has; None: all.
        """
        name, factor = (metric.metric, metric.scale) if isinstance(metric, Panel) else (metric, 1.0)
        if arm == DENSE and DENSE not in set(self.table.arm):
            return factor * paired.by_replicate(self.table[self.table.level == 0], name, self._dense_arm())
        found = factor * paired.by_replicate(self.table, name, arm)
        return found if at is None else paired.at_levels(found, at)

    def _dense_arm(self) -> str:
        there = self.table[self.table.level == 0].arm
        return str(there.iloc[0]) if len(there) else ""

    def pair(self, first: str, second: str, metric: Panel | str, at: Sequence[int]) -> tuple[Frame, Frame]:
        """The values of both arms at the levels that both have, paired by replicate; the dense network stands at each level."""
        one, other = (self.of(metric, arm, None if arm == DENSE else at) for arm in (first, second))
        if DENSE in (first, second) and DENSE not in set(self.table.arm):
            dense, sparse = (one, other) if first == DENSE else (other, one)
            spread = sparse.copy()
            for level in sparse.columns:
                spread[level] = dense.iloc[:, 0] if dense.shape[1] else np.nan
            return (spread, sparse) if first == DENSE else (sparse, spread)
        common = [level for level in one.columns if level in other.columns]
        return one[common], other[common]

    # -- effects -----------------------------------------------------------------------------------------------------

    def effect(self, name: str, unit: str, values: "Frame | Column | Sequence[float]", **options: Any) -> Effect:
        """An effect of values by replicate and level, or of one number a replicate, above `least` as the sentence expects.

        Args:
            options: as `tombola.evaluation.paired.effect` has them: `least`, `note`, `judged`, `lacks`.
        """
        along: Literal["density", "step"] = "step" if self.study.counted == "steps" else "density"
        told = along == "step" or (self.study.counted == "rounds" and self.table.level.max() > 0)
        places = paired.densities(self.table, along) if told and along in self.table else None
        where = f"{self.study.variants.get(self.variant, self.variant)}: " if self.variant else ""
        lacks = options.pop("lacks", "") or self.untrained
        return paired.effect(where + name, unit, values, places=places, along=along, lacks=lacks, **options)

    def above(
        self, better: str, worse: str, metric: Panel, at: Sequence[int], *, name: str = "", least: float | None = None, **options: Any
    ) -> Effect:
        """How much one arm's metric is above another's, over levels.

        Where more than a quarter of either arm's early stops are censored, the accuracy at the end is judged instead of that at early
        stop, and the name says so; the same holds for `within`.

        Args:
            better, worse: arms, or `DENSE`.
            least: None: one test example, for accuracies; else 0.
            name: instead of the one that is made of arms, metric and levels.
        """
        metric = self.uncensored(metric, (better, worse), at)
        one, other = self.pair(better, worse, metric, at)
        least = least if least is not None else self.resolution if _is_accuracy(metric) else 0.0
        lacks = options.pop("lacks", "") or self.lacking((better, worse), metric, at, room=(other, least))
        name = name or f"{self.called(better)} above {self.called(worse)}: {metric.quantity}{self.said(one.columns)}"
        return self.effect(name, metric.unit, one - other, least=least, lacks=lacks, **options)

    def within(
        self, arm: str, other: str, metric: Panel, at: Sequence[int], *, allowed: float | None = None, name: str = "", **options: Any
    ) -> Effect:
        """How much an arm stays less than a margin below another: what "matches" and "no worse" mean.

        Args:
            arm, other: arms, or `DENSE`.
            allowed: the margin in the metric's unit; None: the study's for accuracies (`margin`).
        """
        metric = self.uncensored(metric, (arm, other), at)
        one, reference = self.pair(arm, other, metric, at)
        allowed = self.margin if allowed is None else allowed
        lacks = options.pop("lacks", "") or self.lacking((arm, other), metric, at, room=(reference, allowed))
        text = f"less than {allowed:g} {metric.unit} below {self.called(other)}"
        name = name or f"{self.called(arm)} {text}: {metric.quantity}{self.said(one.columns)}"
        return self.effect(name, metric.unit, allowed - (reference - one), lacks=lacks, **options)

    def sooner(
        self, first: str, second: str, at: Sequence[int], metric: Panel | None = None, *, name: str = "", least: float = 0.0, **options: Any
    ) -> Effect:
        """How many times sooner one arm gets somewhere than another: log2(iterations of the second / of the first).

        Iterations to a loss that are never reached count as the latest that any run of the table needed, which makes the effect
        smaller, never larger; where both arms never get there the pair is left out. Nothing is judged where all networks are there
        before they train. Early stops (`es_iteration`) are judged only where at most a quarter of either arm's are censored.
        """
        metric = metric or Panel("iters_to_1p5x", "iterations to 1.5 times the dense minimum of validation loss")
        values = self.table[metric.metric]
        bound = values[np.isfinite(values)].max()
        one, other = self.pair(first, second, metric, at)
        never = np.isinf(one) & np.isinf(other)
        ratio = np.log2(other.clip(1, bound) / one.clip(1, bound)).mask(never)
        lacks = options.pop("lacks", "") or self.lacking((first, second), metric, at)
        if never.size and never.to_numpy().all():
            lacks = lacks or f"neither arm gets there ({metric.quantity})"
        if bound == 0:
            lacks = lacks or f"all networks are there before they train ({metric.quantity})"
        name = name or f"{self.called(first)} sooner than {self.called(second)}: {metric.quantity}{self.said(one.columns)}"
        return self.effect(name, "log2 ratio", ratio, least=least, lacks=lacks, **options)

    # -- preconditions -----------------------------------------------------------------------------------------------

    @cached_property
    def untrained(self) -> str:
        """Why no metric is judged: the dense network is near chance after training, if the table has its accuracy; "" if it is not.

        Where a table has no dense network, its densest tells, if half of the weights or more are left.
        """
        if "dense_acc" in self.table:
            return self._at_chance(100 * self.table[["dense_acc"]])
        column = next((name for name in ("acc_final", "clean_acc") if name in self.table), "")
        if not column:
            return ""
        rows = self.table[self.table.density >= 0.5]
        if not len(rows):
            return ""
        first = DENSE if DENSE in set(rows.arm) else rows.arm.iloc[0]
        rows = rows[rows.arm == first]
        return self._at_chance(100 * rows[rows.level == rows.level.min()][[column]])

    def lacking(
        self,
        arms: Sequence[str],
        metric: Panel | str,
        at: Sequence[int],
        room: tuple[Frame, float] | None = None,
    ) -> str:
        """The first precondition that is missing for effects of arms at some levels; "" if none is.

        Args:
            room: values of the arm that is the reference, and the difference that has to fit above it, for accuracies.
        """
        there = set(self.table.arm)
        named = [arm for arm in arms if arm != DENSE or DENSE in there]
        if absent := [arm for arm in named if arm not in there]:
            return f"arm {absent[0]} was not run"
        rows = self.table[self.table.arm.isin(named) & self.table.level.isin(at)]
        if not len(at) or not len(rows):
            return "no level that the claim is about was run"
        column = metric.metric if isinstance(metric, Panel) else metric
        return (self.censored(arms, at) if column in EARLY else "") or (self._no_room(metric, room) if _is_accuracy(metric, "(%)") else "")

    def censored(self, arms: Sequence[str], at: Sequence[int]) -> str:
        """Why the early stops of arms cannot be judged: more than a quarter of one's come at the last evaluation."""
        if "es_censored" not in self.table:
            return ""
        for arm in arms:
            share = self.of("es_censored", arm, None if arm == DENSE else at).to_numpy()
            if share.size and np.nanmean(share) > CENSORED:
                return f"{100 * np.nanmean(share):.0f} % of the early stops of {self.called(arm)} are censored: train longer"
        return ""

    def uncensored(self, metric: Panel, arms: Sequence[str], at: Sequence[int]) -> Panel:
        """The accuracy at the end in place of that at early stop, where more than a quarter of the early stops are censored."""
        at_end = metric.metric == "acc_es" and "acc_final" in self.table and self.censored(arms, at)
        return replace(metric, metric="acc_final", label="test accuracy at the end, as early stops are censored (%)") if at_end else metric

    def _at_chance(self, dense: Frame) -> str:
        accuracy = float(np.nanmean(dense.to_numpy())) if dense.size else math.nan
        return f"the dense network is near chance: its accuracy is {accuracy:.1f} %" if near_chance(accuracy, self.study.task) else ""

    def _no_room(self, metric: Panel | str, room: tuple[Frame, float] | None) -> str:
        if chance := self._at_chance(self.of(metric, DENSE)):
            return chance
        if room is not None and room[0].size and (error := 100 - np.nanmean(room[0].to_numpy())) <= room[1]:
            return f"no room: an error of {error:.2g} % is no more than the {room[1]:.2g} pp that would count"
        return ""

    # -- words -------------------------------------------------------------------------------------------------------

    def called(self, arm: str) -> str:
        """What a legend calls an arm; in quotation marks where the label has a comma, or it would run into the sentence around it."""
        label = "the dense network" if arm == DENSE else self.study.arms.get(arm, arm)
        return f'"{label}"' if "," in label else label

    def said(self, levels: Sequence[int]) -> str:
        """Levels in words: ", at 18.9 to 3.6 % density", ", at k = 100"; "" where a level is neither, or nothing is pruned."""
        steps = self.study.counted == "steps"
        if not len(levels) or not (steps or (self.study.counted == "rounds" and any(levels))):
            return ""
        found = paired.densities(self.table, "step" if steps else "density")
        ends = dict.fromkeys(f"{found[level]:,.0f}" if steps else f"{100 * found[level]:.3g}" for level in (min(levels), max(levels)))
        return f", at k = {' to '.join(ends)}" if steps else f", at {' to '.join(ends)} % density"


def aside(effect: Effect, note: str = "") -> Effect:
    """The effect shown beside the others, not judged: the table shows it, the sentence does not say it."""
    return replace(effect, judged=False, lacks="", note=note or effect.note)


def hardest(effects: Iterable[Effect]) -> list[Effect]:
    """Effects that a sentence says of each of several arms, as one part of it: that with the lowest interval is judged, as where it
    holds all do; the others are shown. Those that lack something stay as they are: then the sentence is not judged as a whole.
    """
    found = list(effects)
    able = [one for one in found if not one.lacks]
    lowest = min(able, key=lambda one: one.low - one.least, default=None)
    return [replace(one, chosen_of=len(able)) if one is lowest else one if one.lacks else aside(one) for one in found]


def _is_accuracy(metric: Panel | str, unit: str = "") -> bool:
    """Whether a metric is an accuracy, or, of any unit, a difference of two: that is neither near chance nor at a ceiling."""
    return isinstance(metric, Panel) and "accuracy" in metric.label and metric.scale == 100 and metric.label.endswith(unit)
