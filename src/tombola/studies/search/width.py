"""Searches by the width of the network: the more bits, the harder to search, and the more good masks there are."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.core.task import Count
from tombola.studies import DENSE, Each, Effect, Evidence, Figure, Panel, Results, Row, Several, Share, Values, claim, hardest, study
from tombola.studies.search.common import ACC, COLUMNS, COUNTED, GRADIENTS, MARGIN, PASSES, Gradient, Searcher, Ways


@study("search.width", task="digits-20-mlp", answers="Does a search suffer from more weights, or gain from more masks?")
class Width(Ways):
    """The same searches on one hidden layer of several widths: what they reach, and how many generations a target takes."""

    scales = {"smoke": {**Ways.settings_of("smoke"), "widths": (10, 20), "searchers": ("genetic", "pbil", "bernoulli")}}
    counted = "widths"

    searchers: Several[Searcher | Gradient] = ("random", "genetic", "pbil", "snes", "bernoulli")
    """The ways of searching a mask that are compared."""
    widths: Annotated[Each[Count], Field(min_length=2)] = (20, 50, 100)
    """The numbers of units in the one hidden layer, from small to large."""
    target: Share = 0.4
    """The test accuracy up to which generations are counted, as seen at the looks."""
    looks: Annotated[int, Field(ge=1, le=50)] = 40

    @property
    def columns(self) -> tuple[str, ...]:
        return (*COLUMNS, "width", "needed")

    def rows(self) -> Iterable[Row]:
        for level, width in enumerate(self.widths):
            model = self.task.model.but(options={**self.task.model.options, "widths": [width]})
            for arm in (DENSE, *self.searchers):
                for replicate in range(self.replicates):
                    yield self.row(arm, replicate, self.task.but(model=model), level=level)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The mask at the end of the budget; generations to the target, infinite where it is never reached."""
        values = super().measure(row, results)
        assert isinstance(values, dict)
        values["width"] = self.widths[row.level]
        if row.measurement is not None and row.arm not in GRADIENTS:
            there = [one["generations"] for one in self.way(row, results) if one["acc"] >= self.target]
            values["needed"] = there[0] if there else np.inf
        return values

    def figures(self) -> Sequence[Figure]:
        searched = tuple(arm for arm in ("genetic", "pbil") if arm in self.searchers)
        way, said = (
            Panel("value", ACC.label, 100, threshold=self.target),
            f"Lines show the mask that is best on validation examples. {COUNTED}",
        )
        return (
            Figure("width", "Accuracy of searched masks by width", (ACC,), x="level", caption=COUNTED),
            Figure(
                "way", "Searches on their way to a target", (way,), "profile", x_label=PASSES, detail="way", arms=searched, caption=said
            ),
        )

    @claim(
        "SEARCH-C2",
        "I8",
        "How far the genetic algorithm stays below masks learnt by gradients grows with the number of weights; PBIL's gap grows less.",
        about=lambda study: study.ten_classes(),
        note="The narrowest network is compared with the widest, and the gap is that to Bernoulli masks. A difference counts from "
        f"{MARGIN:g} pp.",
    )
    def gap_grows(self, table: Evidence) -> Iterable[Effect]:
        last = len(self.widths) - 1
        lacks = table.lacking(["bernoulli", "genetic", "pbil"], ACC, [0, last])
        gaps = {arm: table.of(ACC, "bernoulli", [0, last]) - table.of(ACC, arm, [0, last]) for arm in ("genetic", "pbil")}
        grown = {arm: gap[last] - gap[0] if last in gap else gap.sum(axis=1) for arm, gap in gaps.items()}
        yield table.effect("the genetic algorithm's gap grows with width", "pp", grown["genetic"], least=MARGIN, lacks=lacks)
        yield table.effect("it grows more than PBIL's", "pp", grown["genetic"] - grown["pbil"], least=MARGIN, lacks=lacks)

    @claim(
        "SEARCH-C5",
        "I8",
        "Wider untrained networks need fewer generations to a target accuracy, as more of their masks reach it.",
        about=lambda study: study.ten_classes(),
        note="It is judged by log2 of the generations in the narrowest network over those in the widest, of the genetic algorithm "
        "and of PBIL; the harder of the two is judged. Where the target is not reached, the latest that any search needed "
        "stands for it.",
    )
    def wider_is_sooner(self, table: Evidence) -> Iterable[Effect]:
        last = len(self.widths) - 1
        yield from hardest(self._sooner(table, arm, last) for arm in ("genetic", "pbil"))

    def _sooner(self, table: Evidence, arm: str, last: int) -> Effect:
        values = table.of("needed", arm, [0, last])
        reached = table.table.needed[np.isfinite(table.table.needed)]
        bound = reached.max() if len(reached) else 1.0
        never = len(values.columns) == 2 and bool(np.isinf(values).all(axis=None))
        lacks = table.lacking([arm], "needed", [0, last]) or ("the target is never reached" if never else "")
        times = np.log2(values.clip(1, bound))
        ratio = times[0] - times[last] if last in times else times.sum(axis=1)
        return table.effect(f"{table.called(arm)}: sooner in the widest network", "log2 ratio", ratio, lacks=lacks)
