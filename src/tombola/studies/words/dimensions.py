"""Whether a mask gives the dimensions of word vectors a meaning."""

from collections.abc import Iterable, Sequence

from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, Values, aside, claim, study
from tombola.studies.words.common import FEW, MEN, OURS, READ, OnAxes, WordTickets, read

KURTOSIS = Panel("kurtosis", "excess kurtosis of axes")
RATIO = Panel("dist_ratio", "intruder's distance / distance among top words")
NORMALISED = tuple(Panel(f"{one.metric}_normalised", f"{one.label}, normalised") for one in (KURTOSIS, RATIO))
LEAST = 0.02
"""The least change of the ratio of distances that counts: an intruder stands out by 2 % more."""


@study("words.dimensions", task="words-skipgram", answers="Do the dimensions of word vectors come to mean something when they are pruned?")
class Dimensions(OnAxes, WordTickets):
    """Tickets of the input table on their own axes, the same vectors rotated at random, and their independent components.

    Skip-gram sees products u.v alone, so that any rotation of a dense network is as good a network: what tells its axes from others
    is the mask.
    """

    arms = {"own": "own axes", "rotated": "the same, rotated at random", "ica": "the same, independent components"}
    columns = (*READ, *(panel.metric for panel in (KURTOSIS, RATIO, *NORMALISED)))
    scales = {"smoke": {"replicates": 2, "levels": 1, "ica_rounds": 5}}
    chosen = {"rates": "this study prunes the input table alone, 30 % a round; leave them as they are"}

    compared: tuple[int, ...] = (0, 3, 5, 7, 9)
    """Levels that are looked at; those beyond `levels` do not count."""

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            for level, run in enumerate(self.chain(replicate, rates={"embedding": 0.3, "output": 0.0})):
                if level in self.compared or level == self.levels:
                    for basis, whiten in (("own", False), ("rotated", False), ("ica", True)):
                        asked = read(run, axes=True, **self.on(basis), whiten=whiten)
                        yield Row(basis, replicate, level, run, measurement=asked)

    def beside(self, row: Row, results: Results) -> Values:
        """The density of the input table, on whatever axes it is looked at."""
        from tombola.procedures.words import INPUT

        return {"density": float(results[row.run].weights("mask")[INPUT].mean())}

    def details(self, results: Results) -> Details:
        """The five top words of each axis, of the first replicate."""
        found = []
        for row in (one for one in self.rows() if one.replicate == 0):
            lines = results.of(row)["top"].tobytes().decode().splitlines()
            place = {"arm": row.arm, "level": row.level, **self.beside(row, results)}
            found += [{**place, "axis": index, "words": line} for index, line in enumerate(lines)]
        return {"axes": found}

    def figures(self) -> Sequence[Figure]:
        said = "The input table is pruned. Vectors are taken less their mean, distances as they were trained, and medians over axes."
        return (
            Figure("axes", "What axes mean", (KURTOSIS, RATIO, MEN), caption=said),
            Figure("normalised", "The same of vectors of length 1", NORMALISED, caption=said),
        )

    @claim(
        "W2V-C5",
        OURS,
        "The mask makes dimensions meaningful: a ticket's own axes are further from normal, and tell intruders better, than the "
        "same vectors rotated at random; independent components are the ceiling of both.",
        note="Vectors are taken as they were trained, at 20 % density and less. Any difference of the kurtosis counts, and one of "
        "the ratio of distances from .02. A mask alone raises the kurtosis, as most values are 0: what dimensions mean is told "
        "by the ratio.",
    )
    def masks_give_meaning(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, FEW)
        for panel, least in ((KURTOSIS, 0.0), (RATIO, LEAST)):
            yield table.above("own", "rotated", panel, at, least=least)
            yield table.above("ica", "own", panel, at, least=least)
        dense = [0] if 0 in set(table.table.level) else []
        yield aside(table.above("own", "rotated", RATIO, dense, least=LEAST, name="the dense network's own axes above rotated ones"))
        yield from (aside(table.above("own", "rotated", panel, at)) for panel in NORMALISED)
