"""What the studies of the paper share: children of W_k, the paths between them, the columns that are measured."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Count, Task
from tombola.evaluation.barrier import FORMS, STABLE, Form, barrier, check_ends
from tombola.evaluation.paired import by_replicate
from tombola.procedures import paths
from tombola.procedures.measurement import BatchNorm, Measurement
from tombola.procedures.paths import from_step as from_step
from tombola.procedures.run import Run
from tombola.pruning.pruning import Pruning
from tombola.studies.base import Cell, Config, Panel, Result, Results, Scale
from tombola.studies.dense import dense_run as dense_run
from tombola.studies.dense import for_noise as for_noise
from tombola.studies.tickets import PruningConfig, Share

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "Frankle et al. 2020"
Stream = Literal["data_order", "augmentation", "dropout"]
Part = Literal["test", "train"]
Rounds = Annotated[int, Field(ge=0, le=60)]
PARTS: tuple[Part, ...] = get_args(Part)
SHARES = (0.0, *(2.0**-power for power in range(8, 0, -1)))
"""Steps k where none are named: 0, and 1/256, 1/128, ... 1/2 of training."""
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
REWOUND_TO_K = {"rewind": "tickets are rewound to each of the steps k here; set k instead"}
"""`PruningConfig.chosen` of studies with several steps k."""
LEARNT = 0.02
"""How much better than the best constant answer a pair of networks is at least for its barrier to count (`Objective.counted_in`)."""


class Paths(Config):
    """Networks on lines between networks."""

    part: Part = "test"
    """Which error and accuracy are judged. Noisy labels are learnt by heart, or not: on a task that has them, those of training."""
    form: Form = "maximum"
    """Which height of the barrier is judged: `maximum` is the paper's; see `tombola.evaluation.barrier`."""
    points: Annotated[int, Field(ge=2)] = 30
    """Evenly spaced points of a path, ends included."""
    batch_norm: BatchNorm = "recompute"
    """Statistics of batch norm on a path: `recompute` them over training examples, or `interpolate` them as the weights."""
    train_examples: Count | None = None
    """Training examples on which a path is evaluated; None: all."""
    stable: Share = STABLE
    """A barrier below this is none: the paper's 2 percentage points."""

    def options(self) -> dict[str, Any]:
        """Those of a measurement of a path."""
        return {"points": self.points, "batch_norm": self.batch_norm, "train": self.train_examples}

    def said(self) -> str:
        """What a caption says of how paths were evaluated."""
        norm = {"recompute": "computed anew at each point", "interpolate": "interpolated as the weights"}[self.batch_norm]
        examples = "all" if self.train_examples is None else f"{self.train_examples:,}"
        return f"{self.points} points a path, {examples} training examples; statistics of batch norm, where there is any, {norm}."


class Children(Paths):
    """Copies of a network that go on under SGD noise of their own."""

    children: Annotated[int, Field(ge=2, le=10)] = 3
    """Copies of W_k; every pair of them is a path."""
    vary: Annotated[tuple[Stream, ...], Field(min_length=1)] = ("data_order", "augmentation", "dropout")
    """Streams of SGD noise that differ between children; the others are the parent's."""


class Instability(Children):
    """Children of W_k for several k."""

    k: tuple[Step, ...] = ()
    """Steps k at which the copies are made; none named: 0 and 1/256, 1/128, ... 1/2 of training."""


class Sparse(PruningConfig, Instability):
    """The same for sparse networks."""

    chosen = REWOUND_TO_K


def at_smoke(scale: Scale, **fields: Any) -> dict[str, Any]:
    """Fields of a configuration that make it small, at `smoke` only."""
    return {"replicates": 2, "points": 3, **fields} if scale == "smoke" else {}


def steps_of(k: Sequence[Step], task: Task, shares: Sequence[float] = SHARES) -> tuple[Step, ...]:
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


def children_of(parent: Run, config: Children) -> list[Run]:
    """Runs that differ from `parent` in nothing but SGD noise."""
    return paths.children_of(parent, config.vary, config.children)


def path_between(config: Paths, first: Run, second: Run, dense: Run, **options: Any) -> Measurement:
    """The path between the ends of two runs, evaluated as the study says."""
    return paths.path_between(first, second, dense, {**config.options(), **options})


def pair_cells(config: Children, arm: str, replicate: int, level: int, parent: Run, dense: Run, variant: str = "") -> list[Cell]:
    """A row for each pair of the children of a run; which pair it is stands in `draw`."""
    pairs = combinations(children_of(parent, config), 2)
    return [
        Cell(arm, replicate, level, first, draw, variant, path_between(config, first, second, dense))
        for draw, (first, second) in enumerate(pairs)
    ]


METRICS = (  # `instability` is the judged barrier; NaN where nothing was learnt
    "kept",
    "prunable",
    "draw",
    "step",
    "share",
    "instability",
    *(f"{part}_{form}" for part in PARTS for form in FORMS),
    "distance",
    "cosine",
    "since_start",
    "since_initial",
    "of_start",
    "of_initial",
    "disagreement",
    "test_disagreement",
    "train_disagreement",
    "acc_final",
    "train_acc_final",
    "statistics_shift",
)


def instability_panel(config: Paths) -> Panel:
    """The judged barrier, with the line below which networks are stable."""
    error = "training" if config.part == "train" else "test"
    form = {"maximum": "error barrier", "midpoint": "midpoint barrier", "linear": "linear barrier"}[config.form]
    return Panel("instability", f"{form}, {error} (pp)", 100, threshold=config.stable)


DISTANCE = Panel("distance", "2-norm between the two")
OF_INITIAL = Panel("of_initial", "2-norm (% of the way from W_0)", 100)
COSINE = Panel("cosine", "cosine of the weights")
DISAGREEMENT = Panel("disagreement", "predictions that differ (%)", 100)
ACCURACY = Panel("acc_final", "test accuracy (%)", 100)


def measure(config: Paths, cell: Cell, results: Results) -> dict[str, float]:
    """The columns of a pair of networks. Raises if what was evaluated is not what was trained."""
    assert cell.measurement is not None
    first, second = (results[parent.run] for parent in cell.measurement.of[:2])
    found = results.measured(cell.measurement)
    guard_ends(config, found, (first, second))
    barriers = {f"{part}_{form}": float(barrier(found[f"{part}_error"], found["a"], form)) for part in PARTS for form in FORMS}
    start, initial = (float(np.mean(found.get(name, np.nan))) for name in ("since_start", "since_initial"))
    ends = found[f"{config.part}_error"][[-1, 0]]
    return {
        "kept": first.summary["kept"],
        "prunable": first.summary["prunable"],
        "draw": cell.draw,
        "step": first.begin,
        "share": first.begin / first.end,
        "instability": learnt(config, found, ends, barriers[f"{config.part}_{config.form}"]),
        **barriers,
        "distance": float(found["distance"]),
        "cosine": float(found["cosine"]),
        "since_start": start,
        "since_initial": initial,
        "of_start": _share(float(found["distance"]), start),
        "of_initial": _share(float(found["distance"]), initial),
        "disagreement": float(found[f"{config.part}_disagreement"]),
        **{f"{part}_disagreement": float(found[f"{part}_disagreement"]) for part in PARTS},
        "acc_final": float(np.mean([one.shown("test") for one in (first, second)])),
        "train_acc_final": float(np.mean([one.shown("train") for one in (first, second)])),
        "statistics_shift": float((ends - found[f"{config.part}_own"]).mean()),
    }


def guard_ends(config: Paths, found: Mapping[str, Any], ends: Sequence[Result]) -> None:
    """Raise unless the ends of a path are what their runs recorded, on the test set, and on the training set where it is whole."""
    check_ends(found["test_own"], [end.error("test") for end in ends], int(found["test_examples"]), config.task.objective)
    if config.train_examples is None:
        check_ends(found["train_own"], [end.error("train") for end in ends], int(found["train_examples"]), config.task.objective)


def learnt(config: Paths, found: Mapping[str, Any], ends: Sequence[float], height: float) -> float:
    """The height of a barrier; NaN between networks that have learnt nothing: from chance no error can rise."""
    chance = found[f"{config.part}_chance"]
    return height if np.mean(ends) < chance - LEARNT * config.task.objective.counted_in(chance) else float("nan")


def of_first(table: "pd.DataFrame", metric: str, arm: str) -> "pd.DataFrame":
    """A metric as a share of its mean at the first k, by replicate and level."""
    values = by_replicate(table, metric, arm)
    return values / values.iloc[:, 0].mean()


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def stable_levels(table: "pd.DataFrame", arm: str, stable: float) -> list[int]:
    """Levels from the first on at which an arm is stable there and at all later ones, by its mean over replicates."""
    mean = by_replicate(table, "instability", arm).mean()
    found: list[int] = []
    for level in reversed(list(mean.index)):
        if not mean[level] < stable:
            break
        found.insert(0, int(level))
    return found


def onset(values: Sequence[bool]) -> int:
    """The place from which on all are True; the number of places if the last is False.

    >>> onset([False, True, False, True, True]), onset([True, False])
    (3, 2)
    """
    return next((place + 1 for place in reversed(range(len(values))) if not values[place]), 0)
