"""What can be taken from trained word vectors without training them again, and on which axes."""

from collections.abc import Iterable, Sequence

from tombola.studies import Effect, Evidence, Figure, Row, aside, claim, study
from tombola.studies.words.common import DIMENSION, LOSS, MEN, OURS, OVERLAP, RHO, Densities, OnAxes, once, place, read

BASES = {"own": "own axes", "rotated": "random rotation", "pca": "principal components", "ica": "independent components"}


@study("words.posthoc", task="words-skipgram", answers="How much of trained word vectors can go, and does it matter on which axes?")
class Posthoc(OnAxes):
    """The input table pruned by magnitude after training, and as much trained again; and of each word its p largest components, on its
    own axes, on a random rotation, on principal and on independent components of the same whitened vectors.
    """

    arms = {"pruned": "pruned, not trained again", "retrained": "trained again under the mask", **BASES}
    scales = {"smoke": {"replicates": 2, "densities": (0.5, 0.1), "components": (1, 4, 64), "ica_rounds": 5}}

    densities: Densities = (0.7, 0.5, 0.3, 0.2, 0.1, 0.05)
    """The shares of its entries that a table pruned as a whole has left."""
    retrained: Densities = (0.1,)
    """The densities at which the table is trained again under the mask."""
    components: tuple[int, ...] = (1, 2, 3, 5, 10, 21, 32, 64)
    """How many components p each word's vector has left."""

    def rows(self) -> Iterable[Row]:
        whole = self.task.model.options.get("dimension", DIMENSION)
        for replicate in range(self.replicates):
            dense, shares = self.dense(replicate), [min(1.0, count / whole) for count in self.components]
            yield Row("pruned", replicate, 0, dense, measurement=read(dense, dense, analogy=True))
            yield Row("pruned", replicate, 1, dense, measurement=read(dense, dense, densities=list(self.densities)))
            for density in self.retrained:
                again, level = once(dense, density, ("embedding",)), 1 + place("retrained", density, self.densities)
                yield Row("retrained", replicate, level, again, measurement=read(again, dense, densities=[1.0]))
            for basis in BASES:
                asked = read(dense, dense, **self.on(basis), densities=shares, scope="row")
                yield Row(basis, replicate, 1, dense, variant="components", measurement=asked)

    @property
    def variants(self) -> dict[str, str]:
        return {"": "whole table", "components": "largest components of each word, whitened"}

    def figures(self) -> Sequence[Figure]:
        said = (
            "Each word keeps its largest components, of the same whitened vectors on all axes. GloVe of 300 dimensions has .450 and "
            ".519 on independent and .115 and .167 on principal components, with 1 or 2 products kept (Yamagiwa et al. 2023)."
        )
        return (
            Figure(
                "pruned",
                "Word vectors pruned after training",
                (LOSS, MEN, OVERLAP),
                variants=("",),
                caption="The input table alone is pruned.",
            ),
            Figure("axes", "Few components of each word", (MEN,), variants=("components",), caption=said),
        )

    @claim(
        "W2V-C2",
        OURS,
        "Half of a trained table's weights cost less than .02 of the correlation with MEN; of what is lost at a tenth, training "
        "again under the mask brings back more than half.",
        note="The input table is pruned, by the smallest weights of all words. What comes back is judged if .02 or more has been lost.",
    )
    def half_is_free(self, table: Evidence) -> Iterable[Effect]:
        table = table.only(variant="")
        half, tenth = table.levels(0.45, 0.55), table.levels(0.05, 0.12)
        yield table.within("pruned", "dense", MEN, half, allowed=RHO)
        dense, pruned = table.of(MEN, "dense"), table.of(MEN, "pruned", tenth)
        again = table.of(MEN, "retrained", tenth)
        lost = pruned.rsub(dense.iloc[:, 0], axis=0) if dense.shape[1] else pruned
        back, much = again - pruned[again.columns] - lost[again.columns] / 2, float(lost[again.columns].mean(axis=1).mean())
        little = f"no room: {much:.2g} was lost at a tenth, less than the {RHO:g} that would count" if much < RHO else ""
        yield table.effect("what training again brings back, less half of what was lost: MEN, at 10 % density", "", back, lacks=little)
        yield aside(table.effect("what was lost: MEN, at 10 % density", "", lost))

    @claim(
        "W2V-C4",
        OURS,
        "With five of its components or fewer a word is worth more on independent components than on its own axes, and "
        "there no less than on principal components or on random axes; from a third of the components on, axes do not matter.",
        note="It is judged at 2 to 5 components, and from 21 of 64 up to 32. More and less count from .02 of the correlation with MEN.",
    )
    def axes_matter_for_few(self, table: Evidence) -> Iterable[Effect]:
        table = table.only(variant="components")
        few, many = table.levels(1.5 / 64, 5.5 / 64), table.levels(1 / 3 - 0.01, 0.51)
        yield table.above("ica", "own", MEN, few, least=RHO)
        for other in ("pca", "rotated"):
            yield table.within("own", other, MEN, few, allowed=RHO)
            yield aside(table.above("ica", other, MEN, few, least=RHO))
        for other in ("own", "pca", "rotated"):
            yield table.within(other, "ica", MEN, many, allowed=RHO)
