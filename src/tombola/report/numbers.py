"""What a report's tables say, as text: the same for the terminal and the page."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.report import text
from tombola.report.result import arms_of, instead, panels_of, rows_of, titles
from tombola.report.summary import GROUP, alike, counts, of_variant, summarise
from tombola.studies.base import Findings
from tombola.studies.figure import Figure

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Block:
    """One quantity by arm and level."""

    label: str
    arms: dict[str, str]
    cells: dict[tuple[str, int], str]
    """(arm, level) -> mean and spread."""


@dataclass(frozen=True)
class Numbers:
    """One variant's numbers."""

    label: str
    """The variant's; "" where there is but one."""
    key: str
    """What the levels are told by: density, or where arms differ in it, the round of pruning; step k, layers reset or width
    where the study's levels count that; "" where they are the rows of a heat map."""
    levels: dict[int, str]
    kept: dict[int, str]
    """Level -> how many weights are kept; empty where that is not known, or arms differ in it."""
    blocks: tuple[Block, ...]


def numbers_of(report: Findings, main: bool = False) -> tuple[list[Numbers], str]:
    """The numbers of all variants, and what their spread is; `main`: of the first figure's panels only. Of a study whose first
    figure is a heat map, and which has none against what its levels count, that map's.
    """
    if maps := instead(report, "heatmap"):
        return _of_maps(maps[0], report)
    found, summaries = [], []
    for variant, label in titles(report.table, report).items():
        rows = of_variant(report.table, variant)
        panels = panels_of(report, variant, main)
        summary = summarise(rows, [panel.metric for panel in panels])
        summary = summary[summary.n > 0]
        key, levels = text.level_names(rows, report)
        blocks = [Block(panel.label, _arms(report, summary, panel.metric), text.cells(summary, panel)) for panel in panels]
        if not alike(rows):
            blocks.insert(0, _densities(report, rows))
        shown = tuple(block for block in blocks if block.arms)
        found.append(Numbers(label, key, levels, counts(rows), shown))
        summaries.append(summary)
    return [one for one in found if one.blocks], text.how_summarised(summaries)


def _of_maps(figure: Figure, report: Findings) -> tuple[list[Numbers], str]:
    """The rows of the map for levels, its columns for arms."""
    found, summaries = [], []
    for title, details in text.titled(rows_of(figure, report), report, ("variant", "arm")):
        places = {name: place for place, name in enumerate(details.row.unique())}
        columns = {name: name for name in details.column.unique()}
        rows = details.assign(variant="", arm=details.column, level=details.row.map(places))
        summary = summarise(rows, [panel.metric for panel in figure.panels])
        blocks = tuple(Block(f"{panel.label}, {figure.x_label}", columns, text.cells(summary, panel)) for panel in figure.panels)
        found.append(Numbers(title, "", {place: name for name, place in places.items()}, {}, blocks))
        summaries.append(summary)
    return found, text.how_summarised(summaries)


def _arms(report: Findings, summary: "pd.DataFrame", metric: str) -> dict[str, str]:
    present = set(summary[summary.metric == metric].arm)
    return {arm: label for arm, label in arms_of(report).items() if arm in present}


def _densities(report: Findings, rows: "pd.DataFrame") -> Block:
    mean = rows.groupby(list(GROUP[1:])).density.mean().dropna()
    present = {arm for arm, _ in mean.index}
    arms = {arm: label for arm, label in arms_of(report).items() if arm in present}
    return Block("density", arms, {(arm, level): text.percent(density) for (arm, level), density in mean.items()})
