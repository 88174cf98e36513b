"""What the studies of the paper share: children of W_k, the paths between them, what is measured, and what is stable."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from tombola.core.task import Count, Task
from tombola.evaluation.barrier import FORMS, STABLE, Form, at_chance, barrier, check_ends
from tombola.procedures import paths
from tombola.procedures.measurement import BatchNorm, Measurement
from tombola.procedures.paths import from_step as from_step
from tombola.pruning.pruning import Pruning
from tombola.studies import Effect, Evidence, Figure, Panel, PruningStudy, Result, Results, Run, Share, Step, TombolaError
from tombola.studies.base import Counted, Row, Scale, Study, Values
from tombola.studies.dense import dense_run as dense_run
from tombola.studies.dense import for_noise

Stream = Literal["data_order", "augmentation", "dropout"]
Part = Literal["test", "train"]
Rounds = Annotated[int, Field(ge=0, le=60)]
PARTS: tuple[Part, ...] = get_args(Part)
SMOKE = {"replicates": 2, "points": 3}
"""Fields of every study at the scale `smoke`."""
FEW = {**SMOKE, "children": 2, "k": ("0it", "1it")}
"""Fields of most studies at the scale `smoke`."""
EXTREME = {
    "lenet-mnist": 15,
    "lenet-mnist-2020": 15,
    "resnet20-cifar10": 8,
    "resnet20-cifar10-low": 11,
    "resnet20-cifar10-warmup": 11,
    "vgg16-cifar10": 19,
    "vgg16-cifar10-low": 13,
    "vgg16-cifar10-warmup": 19,
    "resnet50-imagenet": 1,
}
"""Task -> rounds of pruning to the density that the paper looks at (3.5; 16.8, 8.6, 8.6; 1.5, 5.5, 1.5; 30 %; table 1)."""
ONE_SHOT = {"resnet50-imagenet": {"pruning": Pruning(rates={"conv": 0.7})}}
"""Task -> fields for what the paper prunes at once."""
BARRIERS = tuple(f"{part}_{form}" for part in PARTS for form in FORMS)
TRAVELLED = ("since_start", "since_initial", "of_start", "of_initial")
DISAGREEMENTS = ("disagreement", "test_disagreement", "train_disagreement")
AT_END = ("acc_final", "train_acc_final", "statistics_shift")
PLACE = ("kept", "prunable", "draw", "step", "share")
METRICS = (*PLACE, "instability", *BARRIERS, "distance", "cosine", *TRAVELLED, *DISAGREEMENTS, *AT_END)
"""Columns of a pair of networks. `instability` is the judged barrier; NaN where nothing was learnt."""
NOT_TRAVELLED = tuple(name for name in METRICS if name not in TRAVELLED)
"""Columns of pairs that did not go on from one W_k."""

DISTANCE = Panel("distance", "2-norm between the two")
OF_INITIAL = Panel("of_initial", "2-norm (% of the way from W_0)", 100)
COSINE = Panel("cosine", "cosine of the weights")
DISAGREEMENT = Panel("disagreement", "predictions that differ (%)", 100)
ACCURACY = Panel("acc_final", "test accuracy (%)", 100)


class Paths(Study):
    """Networks on lines between networks."""

    paper = "Frankle et al. 2020"
    scales = {"smoke": SMOKE}
    columns = METRICS
    counted: ClassVar[Counted] = "steps"

    part: Part = "test"
    """Whether the error on training or on test data is judged. On a task with noisy labels it is that on training data, because only there
    such labels can be learnt."""
    form: Form = "maximum"
    """Which height of the barrier is judged; `maximum` is the paper's (`tombola.evaluation.barrier`)."""
    points: Annotated[int, Field(ge=2, le=10_000)] = 30
    """Evenly spaced points of a path, its ends included."""
    batch_norm: BatchNorm = "recompute"
    """What statistics of batch norm are on a path: computed anew over training examples (`recompute`), or interpolated as the weights are
    (`interpolate`)."""
    train_examples: Count | None = None
    """How many training examples a path is evaluated on. None: all."""
    stable: Share = STABLE
    """The height below which there is no barrier: the paper's 2 percentage points."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        return {**for_noise(task), **super().at(scale, task)}

    def path_options(self) -> dict[str, Any]:
        """The options of a measurement of a path."""
        return {"points": self.points, "batch_norm": self.batch_norm, "train": self.train_examples}

    def path_between(self, first: Run, second: Run, dense: Run | None = None, **options: Any) -> Measurement:
        """The path between the ends of two runs; of children of one W_k with the distances travelled, if `dense` is named."""
        return paths.path_between(first, second, dense, {**self.path_options(), **options})

    # -- what is measured of a pair ------------------------------------------------------------------------------------

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        return self.of_pair(row, results)

    def of_pair(self, row: Row, results: Results) -> Values:
        """The columns of a pair of networks. Raises if what was evaluated is not what was trained."""
        assert row.measurement is not None
        found = results.of(row)
        first, second = (results[parent.run] for parent in row.measurement.of[:2])
        self.check_ends(found, (first, second))
        barriers = {f"{part}_{form}": float(barrier(found[f"{part}_error"], found["a"], form)) for part in PARTS for form in FORMS}
        start, initial = (float(np.mean(found.get(name, np.nan))) for name in ("since_start", "since_initial"))
        distance, ends = float(found["distance"]), found[f"{self.part}_error"][[-1, 0]]
        return {
            "draw": row.draw,
            "step": first.begin,
            "share": first.begin / first.end,
            "instability": self.if_learnt(found, ends, barriers[f"{self.part}_{self.form}"]),
            **barriers,
            "distance": distance,
            "cosine": float(found["cosine"]),
            "since_start": start,
            "since_initial": initial,
            "of_start": distance / start if start else float("nan"),
            "of_initial": distance / initial if initial else float("nan"),
            "disagreement": float(found[f"{self.part}_disagreement"]),
            **{f"{part}_disagreement": float(found[f"{part}_disagreement"]) for part in PARTS},
            "acc_final": float(np.mean([one.shown("test") for one in (first, second)])),
            "train_acc_final": float(np.mean([one.shown("train") for one in (first, second)])),
            "statistics_shift": float((ends - found[f"{self.part}_own"]).mean()),
        }

    def check_ends(self, found: Mapping[str, Any], ends: Sequence[Result]) -> None:
        """Raise unless the ends of a path are what their runs recorded, on the test set, and on the training set where it is whole."""
        for part in PARTS if self.train_examples is None else PARTS[:1]:
            check_ends(found[f"{part}_own"], [end.error(part) for end in ends], int(found[f"{part}_examples"]), self.task.objective)

    def if_learnt(self, found: Mapping[str, Any], ends: Sequence[float], height: float) -> float:
        """The height of a barrier; NaN between networks that have learnt nothing: from chance no error can rise."""
        chance = found[f"{self.part}_chance"]
        return float("nan") if at_chance(np.mean(ends), chance, self.task.objective) else height

    # -- figures -------------------------------------------------------------------------------------------------------

    @property
    def barrier(self) -> Panel:
        """The judged barrier, with the line below which networks are stable."""
        error = "training" if self.part == "train" else "test"
        form = {"maximum": "error barrier", "midpoint": "midpoint barrier", "linear": "linear barrier"}[self.form]
        return Panel("instability", f"{form}, {error} (pp)", 100, threshold=self.stable)

    @property
    def evaluated(self) -> str:
        """How paths were evaluated, for captions."""
        norm = {"recompute": "computed anew at each point", "interpolate": "interpolated as the weights are"}[self.batch_norm]
        examples = "all" if self.train_examples is None else f"{self.train_examples:,}"
        where = f"Paths are evaluated at {self.points} points, on {examples} training examples."
        return f"{where} Statistics of batch norm, where there is any, are {norm}."

    def against_k(self, name: str, title: str, *panels: Panel, caption: str = "") -> Figure:
        """Panels against the step k."""
        return Figure(name, title, panels, x="step", caption=caption or self.evaluated)

    # -- claims --------------------------------------------------------------------------------------------------------

    def is_stable(self, table: Evidence, arm: str, at: Sequence[int], expected: bool = True, *, lacks: str = "", note: str = "") -> Effect:
        """How much the barrier of an arm stays below the line of stability; above it, if instability is expected."""
        line, values = 100 * self.stable, table.of(self.barrier, arm, at)
        name = f"{table.called(arm)} {'stable: barrier below' if expected else 'unstable: barrier above'} {line:g} pp"
        below = line - values
        lacks = lacks or table.lacking((arm,), self.barrier, at)
        return table.effect(name + table.said(values.columns), "pp", below if expected else -below, lacks=lacks, note=note)

    def never_unstable(self, table: Evidence, arm: str) -> str:
        """Why an arm has no unstable phase that begins at k = 0; "" if it has one, by the mean over replicates."""
        values = table.of(self.barrier, arm)
        if not values.shape[1]:
            return f"arm {arm} was not run"
        if table.table.step.min() > 0:
            return "k = 0 was not run"
        return "" if values.iloc[:, 0].mean() >= 100 * self.stable else f"{table.called(arm)} has no unstable phase: it is stable at k = 0"

    def onset(self, table: Evidence, arm: str) -> tuple[str, list[int]]:
        """Why an arm has no onset of stability, and the levels from it on, by the mean over replicates."""
        if lacks := self.never_unstable(table, arm):
            return lacks, []
        mean = table.of(self.barrier, arm).mean()
        levels = [int(level) for level in mean.index if (mean.loc[level:] < 100 * self.stable).all()]
        return "" if levels else f"{table.called(arm)} is stable at no k that was run", levels


class Children(Paths):
    """Copies of a network that go on under SGD noise of their own."""

    scales = {"smoke": {**SMOKE, "children": 2}}

    children: Annotated[int, Field(ge=2, le=10)] = 3
    """Copies of W_k that are trained. Every pair of them is a path."""
    vary: Annotated[tuple[Stream, ...], Field(min_length=1)] = ("data_order", "augmentation", "dropout")
    """The streams of SGD noise that differ between the copies; all other noise is the parent's."""

    def children_of(self, parent: Run) -> list[Run]:
        """Runs that differ from `parent` in nothing but SGD noise."""
        return paths.children_of(parent, self.vary, self.children)

    def pair_rows(self, arm: str, replicate: int, level: int, parent: Run, dense: Run, variant: str = "") -> list[Row]:
        """A row for each pair of the children of a run; which pair it is stands in `draw`."""
        pairs = combinations(self.children_of(parent), 2)
        return [
            Row(arm, replicate, level, first, draw, variant, self.path_between(first, second, dense))
            for draw, (first, second) in enumerate(pairs)
        ]


class Instability(Children):
    """Children of W_k for several k."""

    scales = {"smoke": FEW}
    shares: ClassVar[Sequence[float]] = (0.0, *(2.0**-power for power in range(8, 0, -1)))
    """The steps k as shares of training, where `k` names none."""

    k: tuple[Step, ...] = ()
    """The steps k at which the copies are made. If none is named, they are 0 and 1/256, 1/128, ..., 1/2 of training, or what the study
    says."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps k, each once, from the first to the last."""
        return steps_of(self.k, self.task, self.shares)

    def starts(self) -> Iterator[tuple[int, int, Step, Run]]:
        """(replicate, level, k, dense run) of every step k, which is a level, of every replicate."""
        for replicate in range(self.replicates):
            dense = dense_run(self, replicate)
            yield from ((replicate, level, k, dense) for level, k in enumerate(self.steps))


class Sparse(PruningStudy, Instability):
    """The same for sparse networks."""

    chosen = {"rewind": "tickets are rewound to each of the steps k here; set k instead"}


def steps_of(k: Sequence[Step], task: Task, shares: Sequence[float]) -> tuple[Step, ...]:
    """The steps k, each once, from the first to the last; none given: at `shares` of training.

    Raises if they cannot be told as shares of training, or are told partly in epochs and partly in iterations: how they
    follow each other is then not known before the data is.
    """
    if not k:
        try:
            return tuple(dict.fromkeys(task.recipe.steps.times(share) if share else Step("0it") for share in shares))
        except TombolaError:
            raise TombolaError(f'training takes {task.recipe.steps}, so name the steps: --set \'k=["0it", "1ep", ...]\'') from None
    epochs, iterations = (any(step.order[unit] for step in k) for unit in (0, 1))
    if epochs and iterations:
        raise TombolaError(f"k = {', '.join(k)}: write all steps in iterations, or all in epochs")
    return tuple(sorted(set(k), key=lambda step: step.order))


def network(task: Task) -> str:
    """Which of the paper's networks a task's is like, smaller ones included: "LeNet", "ResNet-20", "VGG-16" or "ResNet-50", each at
    its standard rate; "" if none.
    """
    data, model = task.data.name, task.model.name
    if task.data.label_noise or task.name.endswith(("-low", "-warmup")):
        return ""
    if model == "mlp" and data in ("mnist", "digits"):
        return "LeNet"
    if model == "deep_resnet" and data == "imagenet":
        return "ResNet-50"
    return {"resnet": "ResNet-20", "vgg": "VGG-16"}.get(model, "") if data.startswith("cifar10") else ""
