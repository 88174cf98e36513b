"""Which words pruning takes from: the rare ones, or all alike."""

from collections.abc import Iterable, Sequence

from tombola.studies import Effect, Evidence, Figure, Panel, Row, aside, claim, study
from tombola.studies.words.common import MEN, OURS, RARE, RHO, Densities, WordStudy, once, place, read

FREQUENCY = Panel("frequency_rho", "rank correlation of a word's density with its frequency")
JUDGED = (0.08, 0.12)


@study("words.frequency", task="words-skipgram", answers="Does pruning take the vectors of rare words, and what do they lose by it?")
class Frequency(WordStudy):
    """The input table pruned as a whole, each word alike, and each dimension alike: after training, and trained again under the mask."""

    arms = {
        "global": "smallest of the table",
        "word": "smallest of each word",
        "dimension": "smallest of each dimension",
        "global_again": "smallest of the table, trained again",
        "word_again": "smallest of each word, trained again",
    }
    scales = {"smoke": {"replicates": 2, "densities": (0.5, 0.1)}}

    densities: Densities = (0.5, 0.3, 0.2, 0.1, 0.05)
    """The shares of the table's entries that are kept after training."""
    again: Densities = (0.1,)
    """The densities at which the table is trained again under the mask."""

    def rows(self) -> Iterable[Row]:
        scopes = {"global": "layer", "word": "row", "dimension": "column"}
        for replicate in range(self.replicates):
            dense = self.dense(replicate)
            yield Row("global", replicate, 0, dense, measurement=read(dense))
            for arm, scope in scopes.items():
                yield Row(arm, replicate, 1, dense, measurement=read(dense, dense, densities=list(self.densities), scope=scope))
            for density in self.again:
                level = 1 + place("again", density, self.densities)
                for arm in ("global", "word"):
                    run = once(dense, density, ("embedding",), **({} if arm == "global" else {"scope": scopes[arm]}))
                    yield Row(f"{arm}_again", replicate, level, run, measurement=read(run, dense, densities=[1.0]))

    def figures(self) -> Sequence[Figure]:
        said = (
            "The input table alone is pruned. Of the rare words of Luong et al. 2013 at most a quarter of the pairs are in the vocabulary."
        )
        return (Figure("frequency", "Pruning by table, by word, by dimension", (FREQUENCY, RARE, MEN), caption=said),)

    @claim(
        "W2V-C3",
        OURS,
        "Pruned as a whole, a table loses its rare words (density and frequency correlate above .5), and rare words are "
        "hurt more than MEN; pruned word by word it is the other way round.",
        note="Tables are pruned after training, and judged at 10 % density. What is hurt is told by how far the rank correlation "
        "falls from the dense network's.",
    )
    def rare_words_go(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(*JUDGED)
        yield table.effect(f"density and frequency{table.said(at)}", "", table.of(FREQUENCY, "global", at), least=0.5)
        for arm, sign in (("global", 1), ("word", -1)):
            hurt = [table.of(panel, arm, at).rsub(table.of(panel, "dense").iloc[:, 0], axis=0) for panel in (RARE, MEN)]
            first, second = ("rare words", "MEN")[::sign]
            name = f"{table.called(arm)}: {first} hurt more than {second}{table.said(at)}"
            yield table.effect(name, "", sign * (hurt[0] - hurt[1]), least=RHO)
        yield aside(table.above("word", "global", RARE, at, least=RHO))
        yield aside(table.above("word_again", "global_again", RARE, at, least=RHO))
