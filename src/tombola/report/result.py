"""What of a finished study is shown, and in which order."""

import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tombola.studies.base import Findings
from tombola.studies.figure import Figure, Panel

if TYPE_CHECKING:
    import pandas as pd


def plain(name: str) -> str:
    """A name without control characters, which would reach a terminal, and which XML does not have."""
    return "".join("?" if unicodedata.category(sign) == "Cc" else sign for sign in name)


def named(label: str) -> str:
    """A label with the user's own parts by their names, without the digests of their code."""
    return plain(re.sub(r"(?<=\w)@[0-9a-f]{16}\b", "", label))


def own_settings(report: Findings) -> str:
    """A sentence for captions that says how this study prunes where that is not as by default; "" if it is."""
    pruning, swept = getattr(getattr(report.study, "first", report.study), "pruning", None), getattr(report.study, "swept", ())
    if pruning is None:
        return ""
    own = [(name, value) for name, value in pruning._brief() if name not in {key.rpartition(".")[2] for key in swept}]
    said = [f"{name.replace('_', ' ')} {_in_words(value)}" for name, value in own]
    return f"Pruning: {', '.join(said)}." if said else ""


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return " and ".join(f"{one:g} ({name})" for name, one in value.items())
    return " and ".join(map(_in_words, value)) if isinstance(value, tuple) else named(str(value))


def arms_of(report: Findings) -> dict[str, str]:
    """Arm to label, in the study's order; arms that only the table has come last, under their own names."""
    known = report.study.arms if report.arms is None else report.arms
    return {arm: named(known.get(arm, arm)) for arm in dict.fromkeys([*known, *report.table.arm.unique()])}


def variants_of(report: Findings) -> dict[str, str]:
    """Variant to label: those that the table or a details table has, in the study's order, then in the table's."""
    frames = [report.table, *(frame for frame in report.details.values() if "variant" in frame.columns)]
    present = list(dict.fromkeys(variant for frame in frames for variant in frame.variant.unique()))
    known = report.study.variants if report.variants is None else report.variants
    ordered = [*(variant for variant in known if variant in present), *present]
    return {variant: named(known.get(variant, variant)) for variant in dict.fromkeys(ordered)}


def rows_of(figure: Figure, report: Findings) -> "pd.DataFrame":
    """The rows that a figure shows, of the table that it draws: its arms, variants and levels."""
    tables = {"density": report.table, "scatter": report.table, "curves": report.curves}
    rows = tables[figure.kind] if figure.kind in tables else report.details[figure.detail]
    if figure.minus:
        rows = differences(rows, figure)
    for column, names in (("arm", figure.arms), ("variant", figure.variants), ("level", figure.levels)):
        if names and column in rows.columns:
            rows = rows[rows[column].isin(names)]
    return rows


def differences(rows: "pd.DataFrame", figure: Figure) -> "pd.DataFrame":
    """The sparse rows of all other arms, less what `figure.minus` has in the same replicate, variant and level."""
    metrics, at = [panel.metric for panel in figure.panels], ["variant", "replicate", "level"]
    base = rows[rows.arm == figure.minus].groupby(at)[metrics].mean()
    others = rows[(rows.arm != figure.minus) & (rows.level > 0)]
    beside = others[at].join(base, on=at)
    return others.assign(**{name: others[name] - beside[name] for name in metrics})


def of_levels(report: Findings, column: str) -> dict[int, float]:
    """Level -> what it stands for in a study of steps or widths: a column of its table, averaged."""
    return {int(level): float(value) for level, value in report.table.groupby("level")[column].mean().items()}


def titles(rows: "pd.DataFrame", report: Findings) -> dict[str, str]:
    """Variant to the title of its panels, of those that some rows have; without titles where the report has but one."""
    variants, present = variants_of(report), set(rows.variant)
    return {variant: label if len(variants) > 1 else "" for variant, label in variants.items() if variant in present}


def panels_of(report: Findings, variant: str, main: bool = False) -> list[Panel]:
    """The panels that show the table's rows of a variant, each metric once; `main`: those of the first such figure only."""
    drawn = [figure for figure in report.figures if figure.kind == "density" and not figure.minus] or instead(report, "scatter")
    figures = [figure for figure in drawn if not figure.variants or variant in figure.variants]
    panels: dict[str, Panel] = {}
    for figure in figures[:1] if main else figures:
        for panel in (*figure.panels, figure.across):
            if panel is not None:
                panels.setdefault(panel.metric, panel)
    return list(panels.values())


def instead(report: Findings, kind: str) -> list[Figure]:
    """The first figure of a study that draws nothing against what its levels count, if it is of a kind."""
    kinds = [figure.kind for figure in report.figures]
    return [*report.figures[:1]] if kinds[:1] == [kind] and "density" not in kinds else []
