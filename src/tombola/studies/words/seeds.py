"""What the tickets of two seeds have in common."""

from collections.abc import Iterable, Sequence

import numpy as np

from tombola.evaluation import similarity
from tombola.evaluation.statistics import rank_correlation
from tombola.studies import Effect, Evidence, Figure, Panel, Results, Row, Values, aside, claim, study
from tombola.studies.words.common import FEW, OURS, WordTickets

CHANCE = 0.05
"""Overlap beyond chance, as a share of what there could be, up to which masks overlap by chance."""
ROWS = Panel("rows_rho", "rank correlation of words' densities")
ENTRIES = Panel("overlap", "overlap of entries beyond chance (%)", 100)
WITHIN = Panel("overlap_words", "the same, beyond that of words' densities (%)", 100)


@study("words.seeds", task="words-skipgram", answers="Do two word2vecs keep the same words, and the same weights?")
class Seeds(WordTickets):
    """The tickets of each replicate beside those of the next, the last beside the first: their input tables' masks."""

    arms = {"pairs": "tickets of two seeds"}
    columns = ("rows_rho", "overlap", "overlap_words", "columns_rho")

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            yield from (Row("pairs", replicate, level, run) for level, run in enumerate(self.chain(replicate)) if level)

    def measure(self, row: Row, results: Results) -> Values:
        """How alike two masks are: by word, entry by entry, and entry by entry beyond what words' densities bring."""
        from tombola.procedures.words import INPUT

        other = self.chain((row.replicate + 1) % self.replicates)[row.level]
        first, second = (np.asarray(results[run].weights("mask")[INPUT]) for run in (row.run, other))
        by_words = float((first.sum(1) * second.sum(1) / first.shape[1]).sum())
        of = {INPUT: first}, {INPUT: second}
        return {
            "rows_rho": rank_correlation(first.sum(1).tolist(), second.sum(1).tolist()),
            "overlap": similarity.overlap(*of),
            "overlap_words": similarity.overlap(*of, by_words),
            "columns_rho": rank_correlation(first.sum(0).tolist(), second.sum(0).tolist()),
        }

    def figures(self) -> Sequence[Figure]:
        said = "At 100 % one mask holds the other; 0 is chance, or what two masks of as many weights in each word have by chance."
        return (Figure("seeds", "How alike the tickets of two seeds are", (ROWS, ENTRIES, WITHIN), caption=said),)

    @claim(
        "W2V-C7",
        OURS,
        "Tickets of two seeds agree in how many weights each word keeps, but not in which.",
        note="The input table is judged at 20 % density and less. Words' densities agree if their rank correlation is above .5. "
        "Entries do not if they overlap by less than 5 % of the way from what these densities bring by chance to the most there "
        "could be. Each seed is in two pairs, which makes intervals somewhat too narrow.",
    )
    def words_agree_entries_do_not(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, FEW)
        lacks = "" if self.replicates > 2 else "pairs of different seeds need three replicates"
        yield table.effect(f"words' densities{table.said(at)}", "", table.of(ROWS, "pairs", at), least=0.5, lacks=lacks)
        beyond = table.of("overlap_words", "pairs", at)
        yield table.effect(f"entries overlap less than 5 % beyond words' densities{table.said(at)}", "", CHANCE - beyond, lacks=lacks)
        yield aside(table.effect(f"overlap of entries beyond chance{table.said(at)}", "", table.of("overlap", "pairs", at)))
