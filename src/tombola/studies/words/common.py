"""What the studies of word vectors share: the chain of tickets, what is read off vectors, panels, margins."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tombola.core.task import Count
from tombola.evaluation.axes import ROUNDS
from tombola.studies import Action, Measurement, Panel, Results, Row, Run, Study, TombolaError, Values, dense_run
from tombola.studies.setting import on_own_text
from tombola.studies.tickets import Levels, PruningStudy, tickets

SETS = ("men", "simlex", "similarity", "relatedness", "rare", "verbs")
READ = ("loss", *SETS, "analogies", "overlap", "frequency_rho", "products", *(f"{name}_share" for name in SETS))
"""Columns of vectors that are read off them."""
LOSS = Panel("loss", "held-out loss (nats)")
MEN = Panel("men", "MEN: rank correlation")
RARE = Panel("rare", "rare words: rank correlation")
OVERLAP = Panel("overlap", "neighbours as in dense (%)", 100)
FEW = 0.2
"""Density up to which tickets are judged."""
NATS, RHO = 0.005, 0.02
"""The smallest differences that count: of the loss in nats a pair, a five-hundredth of it; and of a rank correlation, what two seeds of
one word2vec lie apart."""
DIMENSION = 64
"""The dimension of vectors where a task says none."""
OURS = "IDEAS I1"


class WordStudy(Study):
    """A study of word vectors: what is read off the input table of a dense network, and of others."""

    learns = ("skip_gram",)
    columns = READ

    text: str = ""
    """A text file of your own in place of the task's (`tombola.from_text`)."""

    _on_its_text = on_own_text()

    def dense(self, replicate: int) -> Run:
        """The dense run alone."""
        return dense_run(self, replicate)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """What the row's measurement read off its vectors; a row for each density that it looked at."""
        assert row.measurement is not None
        found = results.of(row)
        count, looked_at = len(found["test_loss"]), row.measurement.options.get("densities")
        density = lambda index: {} if looked_at is None else {"density": float(found["density"][index]), "level": row.level + index}  # noqa: E731
        return [{**density(index), **self.told(found, index), **self.beside(row, results)} for index in range(count)]

    def told(self, found: Mapping[str, Any], index: int) -> Values:
        """Columns of the table of one density."""
        names = [name for name in self.columns if name in found]
        return {"loss": float(found["test_loss"][index]), **{name: float(found[name][index]) for name in names}}

    def beside(self, row: Row, results: Results) -> Values:
        """Further columns of a row."""
        return {}


class OnAxes(WordStudy):
    """A study that looks at vectors on several kinds of axes, independent components among them."""

    ica_rounds: Count = ROUNDS
    """The iterations of FastICA."""

    def on(self, basis: str) -> dict[str, Any]:
        """Options of the measurement that put vectors on some axes."""
        return {"basis": basis, **({"rounds": self.ica_rounds} if basis == "ica" and self.ica_rounds != ROUNDS else {})}


class WordTickets(WordStudy, PruningStudy):
    """One of tickets, which are found by pruning both tables together, the smallest weights wherever they are."""

    scales = {"smoke": {"replicates": 2, "levels": 2}}

    levels: Levels = 9
    """Rounds of pruning after the dense run. Each takes 30 %, down to 4 %."""

    def chain(self, replicate: int, **changes: Any) -> list[Run]:
        """The dense run of a replicate and its tickets, one a level."""
        return tickets(self, replicate, **changes)


def read(run: Run, beside: Run | None = None, **options: Any) -> Measurement:
    """The measurement of a run's vectors, beside those of another: its neighbours."""
    of = (run.at("end"), run.its_mask(), *([] if beside is None else [beside.at("end")]))
    return Measurement(task=run.task, seed=run.seed, name="words", of=of, options=options)


def once(dense: Run, density: float, tables: Sequence[str] = ("embedding", "output"), **options: Any) -> Run:
    """The network trained from its start under a mask that one round of pruning of the dense run leaves.

    Args:
        tables: the kinds of layers that are pruned.
        options: of the mask action `prune`.
    """
    rates = {kind: 1 - density if kind in tables else 0.0 for kind in ("embedding", "output")}
    given = {"rates": rates, "criterion": "large_final", "scope": "global", **options}
    return dense.but(mask=Action(name="prune", of=(dense.at("0it"), dense.at("end"), dense.its_mask()), options=given))


def place(name: str, density: float, densities: Sequence[float]) -> int:
    """Which of the densities one is. Raises if it is none of them."""
    if density not in densities:
        raise TombolaError(f"{name} has {density:g}, which is none of densities = {list(densities)}; name it there too")
    return list(densities).index(density)


Densities = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)]
