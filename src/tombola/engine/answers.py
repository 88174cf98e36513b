"""The short answers of an audit: a sentence or two of each of its studies, from what the study found."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tombola.core.objective import Objective
from tombola.engine.audit import Part
from tombola.evaluation.verdict import LEAST_UNITS
from tombola.studies.base import Findings
from tombola.studies.testbeds import margin

if TYPE_CHECKING:
    import pandas as pd

TITLES = {
    "frankle2019.sparsity": "Winning tickets",
    "frankle2020.onset": "Stability",
    "zhang2019.robustness": "Layers",
    "zhou2019.supermask": "Supermask",
}


def answer(part: Part) -> tuple[str, str]:
    """(what is asked, the answer)."""
    title = TITLES[part.study.name]
    if part.findings is None or (part.lacks and not _SAYS[part.study.name](part.findings)):
        return title, f"There is no answer yet: the time was over with {part.lacks} done."
    said = _ANSWERS[part.study.name](part.findings)
    return title, f"So far ({part.lacks}): {said}" if part.lacks else said


def not_judged(parts: Sequence[Part]) -> list[str]:
    """The claims that cannot be judged on what there is, by the first reason that each has."""
    found: dict[str, list[str]] = {}
    for one in (verdict for part in parts if part.findings for verdict in part.findings.verdicts):
        if one.verdict == "not judged":
            found.setdefault(one.reasons[0] if one.reasons else "nothing of it was measured", []).append(one.id)
    return [f"Not judged: {', '.join(claims)} ({reason})." for reason, claims in found.items()]


def expected(replicates: int) -> str:
    """What is known beforehand of the claims that a size cannot judge; "" if nothing."""
    few = f"With {replicates} replicates no claim can be judged, as it takes {LEAST_UNITS}; the answers are first impressions."
    return few if replicates < LEAST_UNITS else ""


def _tickets(found: Findings) -> str:
    """The sparsest tickets that are no worse than the dense network, and what their controls come to there."""
    objective, table = found.study.task.objective, found.table
    column = f"{objective.columns[1]}_es"
    mean = table.groupby(["arm", "level"])[[column, "density"]].mean()
    own, sign = mean.loc["ticket"], objective.better_is
    dense = own[column].iloc[0]
    allowed = margin(found.study.task) / 100 if objective.headline.unit == "%" else 0.01 * abs(dense)
    as_good = own[sign * own[column] >= sign * dense - allowed]
    last = as_good.index.max()
    there = f"the dense network, which has a {_title(objective)} of {_value(dense, objective)}"
    if last == 0:
        said = [f"{_value(row[column], objective)} with {_share(row.density)} of the weights" for _, row in own.iloc[1:2].iterrows()]
        return f"No ticket is as good as {there}: {said[0] if said else 'none was trained yet'}."
    ways = {"ticket": "", "reinit": "with fresh initial values ", "random": "under a random mask "}
    shown = [f"{way}{_value(mean.loc[(arm, last), column], objective)}" for arm, way in ways.items() if (arm, last) in mean.index]
    return f"Tickets with {_share(own.density[last])} of the weights are as good as {there}: {', '.join(shown)}."


def _onset(found: Findings) -> str:
    """The median onset over the replicates."""
    onsets, shares = (found.table[name].to_numpy(float) for name in ("onset", "share"))
    never = int(np.isinf(onsets).sum())
    middle, share = float(np.median(onsets)), float(np.median(shares))
    if math.isinf(middle):
        return f"{never} of {len(onsets)} networks are not stable to SGD noise at any step that was tried."
    if middle == 0:
        return "The network is stable to SGD noise from its initialisation on."
    spread = f", in single replicates {_count(onsets.min())} to {_count(onsets.max())}" if onsets.min() < onsets.max() else ""
    return f"The network is stable to SGD noise from step {_count(middle)} on, {100 * share:.2g} % of training (median{spread})."


def _layers(found: Findings) -> str:
    """The layers by class, with the rise of the error where they are put back to their initial values."""
    rows = found.details.get("layers")
    first = found.table[(found.table.variant == "reinit") & (found.table.level == 0)]
    rise = 100 * first.groupby("arm", sort=False).rise.mean()
    marks = {} if rows is None else dict(zip(rows["row"], rows["mark"], strict=True))
    by_class = {
        name: [f"{layer} (+{max(0.0, rise[layer]):.1f} pp)" for layer in rise.index if marks.get(layer) == name]
        for name in ("critical", "between", "robust")
    }
    said = [f"{name}: {', '.join(layers)}" for name, layers in by_class.items() if layers]
    return f"By the rise of the error when a layer is put back to its initial values, {'; '.join(said)}." if said else "Not classed yet."


def _mask(found: Findings) -> str:
    """The mask that does best on validation examples, by the mean over replicates."""
    objective, table = found.study.task.objective, found.table[found.table.level > 0]
    name = objective.columns[1]
    mean: pd.DataFrame = table.groupby(["variant", "arm", "level"])[[name, f"validation_{name}", f"chance_{name}", "density"]].mean()
    place = (objective.better_is * mean[f"validation_{name}"]).idxmax()
    best = mean.loc[place]
    values, criterion = found.study.variants[place[0]], found.study.arms.get(place[1], place[1])
    return (
        f"Without any training, the best mask ({criterion}, {values}, {_share(best.density)} kept) has a {_title(objective)} of "
        f"{_value(best[name], objective)}; the best constant answer {_value(best[f'chance_{name}'], objective)}."
    )


_ANSWERS: dict[str, Callable[[Findings], str]] = {
    "frankle2019.sparsity": _tickets,
    "frankle2020.onset": _onset,
    "zhang2019.robustness": _layers,
    "zhou2019.supermask": _mask,
}


_SAYS: dict[str, Callable[[Findings], bool]] = {
    "frankle2019.sparsity": lambda found: bool((found.table.level > 0).any()),
    "frankle2020.onset": lambda found: False,
    "zhang2019.robustness": lambda found: bool(len(found.table)),
    "zhou2019.supermask": lambda found: bool(len(found.table)),
}
"""Whether there is something to say of what a study has so far; of a search that is not over there is not."""


def _title(objective: Objective) -> str:
    """What the headline's column is called."""
    return f"test {objective.headline.in_curves}"


def _value(value: float, objective: Objective) -> str:
    shown = objective.headline
    return f"{shown.factor * value:.1f} {shown.unit}" if shown.unit else f"{shown.factor * value:.4g}"


def _share(density: float) -> str:
    return f"{100 * density:.3g} %"


def _count(step: float) -> str:
    return "never" if math.isinf(step) else f"{step:,.0f}"
