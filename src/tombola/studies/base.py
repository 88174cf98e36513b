"""What a study is: its configuration, the rows of its table, how each is measured, what it claims, what it draws."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field

from tombola.core.errors import TombolaError
from tombola.core.keys import MOST_REPLICATES
from tombola.core.parts import studies as studies
from tombola.core.spec import Spec
from tombola.core.task import Task
from tombola.evaluation.verdict import Verdict
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Run
from tombola.studies.claims import Claim
from tombola.studies.figure import Figure
from tombola.studies.results import Details, Frame, Results
from tombola.studies.row import Row as Row
from tombola.studies.shown import Shown

Scale = Literal["smoke", "small", "paper"]
Counted = Literal["rounds", "steps", "layers", "widths"]


Values = dict[str, Any]
"""Column -> value, of a row of the table."""


COLUMNS = ("study", "task", "variant", "arm", "replicate", "level", "density", "run")
"""What every study's table begins with; `run` is the digest that `tombola export` and `tombola why` take."""


class Study(Spec):
    """A question put to networks. The configuration is the study: its fields are what ``--set`` sets, its methods say which runs
    there are and what is measured of each, its claims and figures are data.

    A study of one's own derives from this class, or from one for tickets (`tombola.studies.tickets.TicketStudy`), and is registered
    with `study`. Attributes without an annotation that are strings, tuples, lists or dictionaries are no fields.
    """

    model_config = ConfigDict(ignored_types=(str, tuple, list, dict, Claim))

    name: ClassVar[str]
    answers: ClassVar[str]
    """The question, as a reader would put it."""
    default_task: ClassVar[str]
    learns: ClassVar[tuple[str, ...]] = ("classification",)
    """Objectives that its claims are about, in whose words it is written; on a task with another headline nothing is judged, and columns
    and labels are translated."""
    paper: ClassVar[str] = ""
    """The paper whose claims are judged, e.g. "Zhou et al. 2019"."""
    meanings: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Column of the table -> its unit and what it holds, of those that no axis of a figure shows and that are the study's own."""
    scales: ClassVar[Mapping[str, Mapping[str, Any]]] = {"smoke": {"replicates": 2}}
    """Scale -> fields that are otherwise than by default."""

    task: Task
    """The data, the network, the objective and the recipe."""
    replicates: Annotated[int, Field(ge=1, le=MOST_REPLICATES)] = 8
    """Repetitions of the whole study, each from a seed of its own. Claims are judged from six on."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The number from which the seeds of the replicates follow."""

    # -- attributes of the class, or properties where they depend on the configuration ----------------------------------

    @property
    def columns(self) -> tuple[str, ...]:
        """What `measure` fills, in the table's order; `kept`, `prunable` and `draw` are the row's run's where it says nothing else."""
        return ()

    @property
    def arms(self) -> Mapping[str, str]:
        """Arm to what a legend calls it, all that the study can have."""
        return {}

    @property
    def variants(self) -> Mapping[str, str]:
        """Variant to what a panel's title calls it."""
        return {}

    @property
    def counted(self) -> Counted:
        """What `level` counts: rounds of pruning; places in a list of steps k, which column `step` of the table holds; layers
        that are reset together; or places in a list of widths, which its column `width` holds.
        """
        return "rounds"

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        """Fields that are otherwise than by default at a scale, on a task."""
        return cls.scales.get(scale, {})

    def rows(self) -> Iterable[Row]:
        """The runs of the study, each with its place in the table, in the table's order."""
        raise TombolaError(f"study {self.name!r} has no method `rows`: let it yield a Row(arm, replicate, level, run) for each run")

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        """Further rows that the results so far call for; none when the study is complete. For studies that search."""
        return ()

    def foreseen(self, rows: Sequence[Row]) -> Iterable[Row]:
        """Rows like those that may follow yet, as `more` finds them, when these are there: what an estimate of the time counts. At most:
        those of a search in which each row is one of the longest that it can be.
        """
        return ()

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The columns of one row; or several rows, or none, each of which may also say its own `variant` and `arm` (a layer and a
        group of its weights, say).
        """
        raise TombolaError(f"study {self.name!r} has no method `measure`: let it return the values of `columns` for a row")

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        """Steps whose weights are kept, beside those that other runs and measurements start from."""
        return {}

    def varied(self, row: Row) -> Values:
        """Field -> value, of the fields of the configuration that differ between rows: further columns of the table, after `COLUMNS`."""
        return {}

    def figures(self) -> Sequence[Figure]:
        """What the report draws, the main figure first."""
        return ()

    def measurements(self) -> Sequence[Measurement]:
        """The measurements that only `details` reads; rows bring their own."""
        return ()

    def details(self, results: Results) -> Details:
        """Further tables by name, for figures that the table cannot draw: each a frame, frames one after the other, or rows. What rows
        that are drawn do not say is the same for all: variant and arm "", level 0, density 1.

        A profile's columns are variant, arm, level, density, replicate, x, value; an image's arm, level, density, row, column,
        value; a surface's variant, arm, level, density, x, y, value, and network: "" on the grid, else the name of the network that
        is there; a heat map's variant, arm, level, density, replicate, row, column (both strings, shown in the order in which they
        first come), one for each panel, and, if rows are classed, mark: "critical", say, the same in all of a row's cells.
        """
        return {}

    def departure(self) -> str:
        """Why no sentence of its paper is about what it trains as it is configured; "" if they are."""
        return ""

    @property
    def claims(self) -> list[Claim]:
        """The claims that its methods make (`tombola.studies.claims.claim`), in their order, those of the classes before it first."""
        return self.claims_of_class()

    @classmethod
    def claims_of_class(cls) -> list[Claim]:
        """The same before the study is configured."""
        found = {name: one for kind in reversed(cls.__mro__) for name, one in vars(kind).items() if isinstance(one, Claim)}
        return list(found.values())

    def judge(self, table: Frame) -> list[Verdict]:
        """The study's claims on its table."""
        if "variant" in table:
            table = table.astype({"variant": str})  # read from a file it may be numbers
        return [claim.judge(self, table) for claim in self.claims]


@dataclass(frozen=True, eq=False, repr=False)
class Findings(Shown):
    """A study that was carried out."""

    study: Study
    columns: tuple[str, ...]
    """The columns of the study, in the words of its task's objective."""
    figures: tuple[Figure, ...]
    """The figures of the study, in the same words."""
    table: Frame
    """One row per variant, arm, replicate, level and draw: `COLUMNS`, then `columns`."""
    curves: Frame
    """Metrics by step of the same runs."""
    verdicts: list[Verdict]
    provenance: dict[str, str]
    details: Mapping[str, Frame] = field(default_factory=dict)
    arms: Mapping[str, str] | None = None
    """Arm to label where the table's are not the study's; None: they are."""
    variants: Mapping[str, str] | None = None
    """Variant to label where the table's are not the study's; None: they are."""
    so_far: str = ""
    """How much of the study is there, "12 of 54 runs"; "" if all of it is."""

    def tables(self) -> dict[str, Frame]:
        """`table`, `curves`, and the details tables that its figures draw."""
        return {"table": self.table, "curves": self.curves, **self.details}

    def report(self, folder: Path | str) -> Path:
        """Write the page with its figures and tables into a folder, as ``tombola run -o`` does; the page's path."""
        found: Path = import_module("tombola.report.page").write([self], Path(folder).expanduser())[0]
        return found

    def _brief(self) -> Iterator[tuple[str, Any]]:
        yield "study", self.study.name
        yield "task", self.study.task.name
        yield from ((name, frame) for name, frame in self.tables().items())
        yield "verdicts", {one.id: one.verdict for one in self.verdicts}


S = TypeVar("S", bound=type[Study])


def study(name: str, *, task: str, answers: str) -> Callable[[S], S]:
    """Register the class under it as a study.

    Args:
        task: the name of the task that it is put to if no other is given.
        answers: the question, as a reader would put it.
    """

    def register(kind: S) -> S:
        if not (isinstance(kind, type) and issubclass(kind, Study)):
            raise TombolaError(f"study {name!r}: {kind!r} is no class derived from Study, or from TicketStudy")
        kind.name, kind.answers, kind.default_task = name, answers, task
        studies.add(name, kind)
        return kind

    return register
