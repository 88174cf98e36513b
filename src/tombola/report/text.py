"""Numbers as a reader wants them: two digits of the uncertainty, per cent, units."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tombola.evaluation.statistics import MOST_REPLICATES_TOLD, Interval, replicates_to_decide
from tombola.evaluation.verdict import LEVEL, Effect, Verdict
from tombola.report.result import arms_of, of_levels, variants_of
from tombola.report.summary import alike, densities_of
from tombola.studies.base import Findings
from tombola.studies.figure import Panel

if TYPE_CHECKING:
    import pandas as pd

STEP, LAYERS, WIDTH = "step k", "layers reset", "width"
"""What levels are told by that are places in a list of iterations, numbers of layers, places in a list of widths."""
SIGNS = {"replicated": "+", "replicated in part": "+/", "not replicated": "-", "undecided": "?", "not judged": " "}
"""The sign beside every verdict, so that colour is never all that tells them apart."""


def percent(density: float) -> str:
    """A density as the papers print it.

    >>> percent(0.2107), percent(0.0043)
    ('21.1 %', '0.43 %')
    """
    return f"{100 * density:.1f} %" if density >= 0.01 else f"{100 * density:.2g} %"


def level_names(rows: "pd.DataFrame", report: Findings) -> tuple[str, dict[int, str]]:
    """What levels are told by, and level -> name: ("density", "21.1 %"), or where arms or variants differ in it
    ("level", "round 7"); in a study of steps k ("step k", "1,000"), of layers ("layers reset", "3"), of widths ("width", "256").
    """
    levels = [int(level) for level in sorted(rows.level.unique())]
    match report.study.counted:
        case "steps":
            steps = of_levels(report, "step")  # curves have a column of that name that is another thing, details may have none
            return STEP, {level: number(steps[level], 0) for level in levels}
        case "layers":
            return LAYERS, {level: str(level) for level in levels}
        case "widths":
            widths = of_levels(report, "width")
            return WIDTH, {level: number(widths[level], 0) for level in levels}
    if alike(rows):
        return "density", {level: percent(density) for level, density in densities_of(rows).items()}
    return "level", {level: f"round {level}" for level in levels}


def level_titles(rows: "pd.DataFrame", report: Findings) -> dict[int, str]:
    """Level -> its name where that stands alone: "21.1 %", "round 7", "k = 1,000", "layers reset: 3", "width 256"."""
    key, names = level_names(rows, report)
    forms = {STEP: "k\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{}", LAYERS: f"{LAYERS}: {{}}", WIDTH: f"{WIDTH} {{}}"}
    return {level: forms.get(key, "{}").format(name) for level, name in names.items()}


def titled(details: "pd.DataFrame", report: Findings, by: Sequence[str]) -> list[tuple[str, "pd.DataFrame"]]:
    """The rows of each group, in the study's order, under what tells it from the others ("" for a single one).

    Args:
        details: a details table.
        report: the study that it is of.
        by: which of "variant", "arm" and "level" tell the groups apart, from the slowest to the fastest.
    """
    names = {
        "variant": variants_of(report),
        "arm": {**arms_of(report), **{arm: arm for arm in details.arm.unique() if arm not in arms_of(report)}},
        "level": level_titles(details, report) if "level" in by else {},
    }
    several = [column for column in by if details[column].nunique() > 1]
    found = []
    for group, rows in details.groupby(list(by)):
        own = dict(zip(by, group, strict=True))
        place = tuple(list(names[column]).index(name) for column, name in own.items())
        found.append((place, ", ".join(names[column][own[column]] for column in several), rows))
    return [(title, rows) for _, title, rows in sorted(found, key=lambda one: one[0])]


def decimals(halves: Iterable[float], otherwise: int = 2) -> int:
    """Decimals that show two digits of a typical (median) half-interval; 0 to 4, and `otherwise` where there is none."""
    finite = sorted(half for half in halves if math.isfinite(half) and half > 1e-9)  # less is rounding, not spread
    if not finite:
        return otherwise
    return min(4, max(0, 1 - math.floor(math.log10(finite[len(finite) // 2]))))


def number(value: float, places: int, sign: bool = False) -> str:
    """Fixed decimals with thousands separated; "-" for NaN, "inf" for infinity, no minus before a zero.

    >>> number(1234.5678, 1), number(0.5, 2, sign=True), number(-0.001, 2), number(float("nan"), 2)
    ('1,234.6', '+0.50', '0.00', '-')
    """
    if math.isnan(value):
        return "-"
    if round(value, places) == 0:
        return f"{0:.{places}f}"
    return f"{value:{'+' if sign else ''},.{places}f}"


def spread(mean: float, high: float, places: int) -> str:
    """Mean ± half of its interval; the mean alone where the interval is unbounded.

    >>> spread(97.5, 97.75, 2)
    '97.50 ± 0.25'
    """
    if not (math.isfinite(mean) and math.isfinite(high)):
        return number(mean, places)
    return f"{number(mean, places)} ± {number(high - mean, places)}"


def cells(summary: "pd.DataFrame", panel: Panel) -> dict[tuple[str, int], str]:
    """(arm, level) -> mean ± half-interval of one variant's metric of a panel, on its axis' scale and with equal decimals."""
    rows = summary[summary.metric == panel.metric]
    whole = all(value == int(value) for value in rows["mean"] if math.isfinite(value)) and panel.scale == 1
    halves = panel.scale * (rows.high - rows["mean"])[rows.infinite == 0]
    places = decimals(halves, otherwise=0 if whole else 2)
    shown = {}
    for _, row in rows.iterrows():
        infinite = f" ({row.infinite}/{row.n})" if row.infinite else ""
        shown[row.arm, row.level] = spread(panel.scale * row["mean"], panel.scale * row.high, places) + infinite
    return shown


def how_summarised(summaries: Sequence["pd.DataFrame"]) -> str:
    """What the numbers of some summaries are."""
    numbers = [n for summary in summaries for n in summary.n] or [0]
    least, most = min(numbers), max(numbers)
    n = f"{most}" if least == most else f"{least} to {most}"
    if most < 2:
        return "One replicate: there is no interval, and no claim can be judged."
    infinite = " inf (k/n): k of n replicates never get there." if any(summary.infinite.any() for summary in summaries) else ""
    return f"Mean ± half of its 95 % t-interval over {n} replicates.{infinite}"


def estimate(effect: Effect) -> str:
    """Mean, interval and unit of an effect: "+1.84 [+1.21, +2.47] pp"."""
    if effect.n == 0:
        return "not measured"
    places = decimals([(effect.high - effect.low) / 2])
    mean, low, high = (number(value, places, sign=True) for value in (effect.mean, effect.low, effect.high))
    return f"{mean} [{low}, {high}] {effect.unit}" if effect.n > 1 else f"{mean} {effect.unit}"


def said(verdict: Verdict) -> str:
    """The verdict in words that carry what colours it: how many parts hold, or why nothing is judged.

    "replicated in part: 2 of 3 parts hold", "not judged: arm reinit was not run".
    """
    states = [state for state in verdict.parts if state != "shown"]
    match verdict.verdict:
        case "replicated in part":
            return f"{verdict.verdict}: {states.count('holds')} of {len(states)} parts hold"
        case "not replicated":
            return f"{verdict.verdict}: {states.count('contradicted')} of {len(states)} parts contradicted"
        case "not judged":
            return f"{verdict.verdict}: {'; '.join(verdict.reasons) or 'nothing was measured'}"
        case "undecided" if len(states) == 1:
            return f"{verdict.verdict}: {why_undecided(next(effect for effect in verdict.effects if effect.judged))}"
        case "undecided":
            return f"{verdict.verdict}: of {len(states)} parts none holds, and none is contradicted"
    return verdict.verdict


def why_undecided(effect: Effect) -> str:
    """Why a part is undecided, and how many replicates would decide it.

    "its interval reaches over 0; if mean and spread stay as they are, 14 replicates in all would decide it".
    """
    border = f"the least effect, {least(effect)} {effect.unit}".rstrip() if effect.least else "0"
    if effect.low > effect.least:
        return f"its interval lies above {border}, but p = {p_value(effect)} is above {LEVEL:g}"
    if effect.high <= effect.least:
        return f"its interval lies below {border}, but with as many tests p is above {LEVEL:g}"
    needed = replicates_to_decide(Interval(effect.mean, effect.low, effect.high, effect.n), effect.least)
    more = f"{needed:,} replicates in all would decide it" if needed else f"not even {MOST_REPLICATES_TOLD:,} replicates would decide it"
    return f"its interval reaches over {border}; if mean and spread stay as they are, {more}"


def state_of(state: str, verdict: Verdict, effect: Effect) -> str:
    """What a part of a claim came to, in words: "holds", "not judged: arm reinit was not run", "shown, not judged". Where nothing is
    judged for one reason the verdict has said it.
    """
    if state == "shown":
        return "shown, not judged"
    if state == "undecided" and said(verdict) == f"{state}: {why_undecided(effect)}":
        return state
    if state == "undecided":
        return f"{state}: {why_undecided(effect)}"
    known = verdict.verdict == "not judged" and len(verdict.reasons) == 1
    return f"{state}: {effect.lacks}" if state == "not judged" and effect.lacks and not known else state


def short(p: float) -> str:
    """A p-value with two digits.

    >>> short(2 / 2**8), short(1.0), short(6e-5)
    ('0.0078', '1', '6e-05')
    """
    return f"{p:.2g}"


def p_value(effect: Effect) -> str:
    """The p-value of an effect; "-" where nothing was measured."""
    return short(effect.p) if effect.n else "-"


def least(effect: Effect) -> str:
    """The smallest effect that would count, in the effect's unit."""
    return number(effect.least, decimals([effect.least], otherwise=0))


def evidence(effect: Effect) -> str:
    """How sure an effect is, and what the smallest is that would count: "n = 8, p = 0.0078, least 0.30 pp"."""
    return f"n = {effect.n}, p = {p_value(effect)}, least {least(effect)} {effect.unit}".rstrip()


def encodable(text: str, encoding: str | None) -> bool:
    """Whether an output of this encoding can show the text."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
