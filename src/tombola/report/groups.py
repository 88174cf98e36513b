"""A details table apart by what a figure has a pair of axes for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tombola.report.result import arms_of, variants_of
from tombola.report.text import level_titles
from tombola.studies.base import Findings

if TYPE_CHECKING:
    import pandas as pd


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
