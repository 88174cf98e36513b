"""What word vectors cost to keep and to compare: weights, bits or dimensions."""

from collections.abc import Iterable, Sequence

from tombola.studies import Effect, Evidence, Figure, Panel, Results, Row, Run, Values, aside, claim, study
from tombola.studies.words.common import DIMENSION, MEN, OURS, READ, RHO, Densities, WordStudy, once, read

BYTES = Panel("bytes", "size of the input table (kB)", 1e-3, log=True)
PRODUCTS = Panel("products", "multiplications of one similarity", log=True)
BITS = 8


@study("words.cost", task="words-skipgram", answers="Do fewer weights, fewer bits or fewer dimensions make word vectors cheapest?")
class Cost(WordStudy):
    """The input table with a share of each word's weights, in 8 bits, or of fewer dimensions: bytes and multiplications against quality.

    Bytes: 4 a value or 1, a bit a weight for the mask where there is one, 4 a word for the scale of 8 bits. Multiplications: of the
    dimensions of a pair of words, those in which both have a value, on average.
    """

    arms = {
        "dense": "all weights",
        "sparse": "of each word, trained again",
        "bits": "8 bits",
        "both": "of each word, trained again, 8 bits",
        "small": "fewer dimensions",
    }
    scales = {"smoke": {"replicates": 2, "shares": (0.25,)}}
    columns = (*READ, "bytes")

    shares: Densities = (0.5, 0.25, 0.125)
    """The shares of its weights that each word keeps, and of the dimensions that a smaller network has."""

    def rows(self) -> Iterable[Row]:
        whole = self.task.model.options.get("dimension", DIMENSION)
        for replicate in range(self.replicates):
            dense = self.dense(replicate)
            yield Row("dense", replicate, 0, dense, measurement=read(dense, dense, analogy=True))
            yield Row("bits", replicate, 0, dense, measurement=read(dense, dense, bits=BITS, analogy=True))
            for level, share in enumerate(self.shares, 1):
                sparse = once(dense, share, ("embedding",), scope="row")
                yield Row("sparse", replicate, level, sparse, measurement=read(sparse, dense, analogy=True))
                yield Row("both", replicate, level, sparse, measurement=read(sparse, dense, bits=BITS, analogy=True))
                few = {**self.task.model.options, "dimension": max(1, round(share * whole))}
                small = Run(task=self.task.but(model=self.task.model.but(options=few)), seed=dense.seed)
                yield Row("small", replicate, level, small, measurement=read(small, analogy=True))

    def beside(self, row: Row, results: Results) -> Values:
        """What the table takes."""
        from tombola.procedures.words import INPUT

        words, dimension = results.network_info(row.run.task).shapes[INPUT]
        mask = results[row.run].weights("mask")[INPUT]
        eight, masked = row.arm in ("bits", "both"), row.arm in ("sparse", "both")
        size = int(mask.sum()) * (BITS // 8 if eight else 4) + masked * -(-words * dimension // 8) + 4 * words * eight
        of_whole = dimension / self.task.model.options.get("dimension", DIMENSION)
        return {"bytes": size, "density": float(mask.mean()) * of_whole}

    def figures(self) -> Sequence[Figure]:
        said = "Each point is the input table alone, as it would be stored."
        return (
            Figure("bytes", "Quality against bytes", (MEN,), "scatter", across=BYTES, caption=said),
            Figure("products", "Quality against multiplications", (MEN,), "scatter", across=PRODUCTS, caption=said),
        )

    @claim(
        "W2V-C8",
        OURS,
        "8 bits make a table nearly four times smaller for less than .02 of the correlation with MEN; with a quarter of each word's "
        "weights a table is worth more than with a quarter of the dimensions.",
        note="Compared with fewer dimensions, a mask adds one bit for each weight to the bytes, and its similarities take fewer "
        "multiplications. A table is worth more from .02 of the correlation with MEN.",
    )
    def bits_before_weights_before_dimensions(self, table: Evidence) -> Iterable[Effect]:
        bits, dense = table.of(MEN, "bits"), table.of(MEN, "dense")
        lacks = table.lacking(("bits", "dense"), MEN, [0])
        yield table.effect("8 bits less than .02 below all weights: MEN", "", RHO - (dense - bits), lacks=lacks)
        at = table.levels(0.2, 0.3)
        yield table.above("sparse", "small", MEN, at, least=RHO)
        yield aside(table.above("both", "small", MEN, at, least=RHO))
