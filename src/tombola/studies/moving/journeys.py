"""The journeys of weights: when it is decided which of them stay, who flips its sign, and how long what grew survives."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.evaluation.early_stopping import es_iteration
from tombola.evaluation.journeys import Journeys as Followed
from tombola.evaluation.journeys import follow, magnitudes, survival
from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, Run, Step, Task, Values, claim, dense_run, study
from tombola.studies.moving.common import Iterative, moving, sparse
from tombola.studies.moving.picture import FATES, rows_of_fates

ALL = "all"
"""The variant of all layers together."""
DECIDED = 0.95
"""The AUC from which on the final mask is decided, but for one pair of weights in twenty."""
FLIPS = Panel("flips_kept", "sign flips of kept weights"), Panel("flips_pruned", "sign flips of pruned weights")
FLIPPED = Panel("flipped", "kept weights with another sign than at first (%)", 100)
SURVIVAL = Panel("survival", "grown connections that are there 5 updates later (%)", 100)
SURVIVED = 5
COLUMNS = (
    "auc_start", "auc_reached", "es_iteration", "es_censored", "decided", "comebacks", "flips_kept", "flips_pruned", "last_kept",
    "last_pruned", "flipped", "survival", "grown",
)  # fmt: skip


@study("moving.journeys", task="digits-mlp", answers="When is it decided which weights stay, and what happens to them on the way?")
class Journeys(Iterative):
    """The dense network's weights, followed to its largest at the end; signs under iterative pruning; what SET and RigL grow.

    Looks are evenly spaced, and read one at a time. Each is a whole tree on disk, and so is each update of SET and RigL that is followed:
    by default 97 trees of 4 bytes a weight for each replicate, 46 MB on digits and 1 GiB for LeNet-300-100.
    """

    scales = {"smoke": {"replicates": 2, "densities": (0.2,), "per_round": 0.9, "looks": 8, "updates": 10}}
    columns = ("kept", "prunable", *COLUMNS, "dense_acc")
    arms = {
        **FATES,
        "dense": "dense network",
        "imp": "iterative, rewound",
        "lrr": "iterative, learning-rate rewinding",
        "rigl": "RigL",
        "set": "SET",
    }

    densities: tuple[float, ...] = (0.5, 0.2, 0.05)
    looks: Annotated[int, Field(ge=4, le=128)] = 64
    """How many times the dense network's weights are looked at, after the start."""
    updates: Annotated[int, Field(ge=10)] = 20
    """How many mask updates of SET and RigL would fill a training. They are made in its first three quarters."""
    drop: Annotated[float, Field(gt=0, le=1)] = 0.3
    """The share of a layer's weights that SET and RigL exchange at first; it falls along a cosine."""

    def rows(self) -> Iterable[Row]:
        """The rows of each arm at each density."""
        for replicate in range(self.replicates):
            dense = dense_run(self, replicate)
            chains = {arm: self.by_level(self.imp(replicate, continued=arm == "lrr")) for arm in ("imp", "lrr")}
            for level, density in enumerate(self.densities, 1):
                yield Row("dense", replicate, level, dense)
                yield from (Row(arm, replicate, level, chain[level]) for arm, chain in chains.items())
                for arm in ("rigl", "set") if level == self.grown_at else ():
                    yield Row(arm, replicate, level, dense.but(task=self._grown(arm), mask=sparse(density)))

    def _grown(self, arm: str) -> Task:
        return moving(self.task, arm, drop=self.drop, every=str(self._every), until=0.75, anneal="cosine")

    @property
    def grown_at(self) -> int:
        """The level at which connections are grown: the first of at most 20 % density, else the last."""
        return next((level for level, density in enumerate(self.densities, 1) if density <= 0.2), len(self.densities))

    @property
    def _every(self) -> Step:
        return self.task.recipe.steps.times(1 / self.updates)

    def steps(self) -> list[Step]:
        """The steps of the looks."""
        whole = self.task.recipe.steps
        return [Step("0it"), *dict.fromkeys(whole.times(place / self.looks) for place in range(1, self.looks)), Step("end")]

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[Step, ...]]:
        last = math.ceil(0.75 * self.updates)
        moved = (Step("0it"), *dict.fromkeys(self.task.recipe.steps.times(place / self.updates) for place in range(1, last)))
        of_arm = {"dense": tuple(self.steps()), "imp": (Step("end"),), "lrr": (Step("end"),), "rigl": moved, "set": moved}
        return {row.run: of_arm[row.arm] for row in rows}

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The values of a run: of the dense network a row for each layer, and one for all; of the others one."""
        result, density = results[row.run], self.densities[row.level - 1]
        values: Values = {"variant": ALL, "density": density, "dense_acc": results[dense_run(self, row.replicate)].shown("test")}
        if row.arm == "dense":
            followed, steps = self.follow(row, results)
            stop, censored = es_iteration(result.metrics)
            stops = {"es_iteration": stop, "es_censored": int(censored)}
            return [{**values, **stops, "variant": name, **_of(followed, steps, paths)} for name, paths in _layers(followed).items()]
        if row.arm in ("imp", "lrr"):
            first, last, mask = results[dense_run(self, row.replicate)].weights("0it"), result.weights("end"), result.weights("mask")
            turned = sum(np.count_nonzero((np.sign(first[path]) != np.sign(last[path])) & kept) for path, kept in mask.items())
            return {**values, "flipped": turned / max(1, result.summary["kept"])}
        moved = (dict(result.weights(f"mask@{step}")) for step in self.keep([row])[row.run])
        share, grown = survival(moved, SURVIVED)
        return {**values, "survival": share, "grown": grown}

    def follow(self, row: Row, results: Results) -> tuple[Followed, list[int]]:
        """The dense network's weights on the way to its largest at the end, and the iterations of the looks."""
        result, info = results[row.run], results.network_info(self.task)
        density = self.densities[row.level - 1]
        spread = density if self.scope == "global" else dict.fromkeys(info.prunable, density)
        steps = [step.iterations(info.steps_per_epoch, result.end) for step in self.steps()]
        final = magnitudes({path: result.weights("end")[path] for path in info.prunable}, spread)
        return follow(((at, dict(result.weights(str(step)))) for at, step in zip(steps, self.steps(), strict=True)), final, spread), steps

    def details(self, results: Results) -> Details:
        """AUC by look and layer, and the picture: of the first replicate, at the last density."""
        found = []
        for row in (one for one in self.rows() if one.arm == "dense"):
            followed, steps = self.follow(row, results)
            where = results.where(row, density=self.densities[row.level - 1])
            for name, values in {ALL: followed.pooled, **{_name(path): one for path, one in followed.auc.items()}}.items():
                found += [{**where, "variant": name, "x": x, "value": value} for x, value in zip(steps, values, strict=True)]
        shown = next(row for row in self.rows() if row.arm == "dense" and row.level == len(self.densities))
        followed, steps = self.follow(shown, results)
        weights = [results[shown.run].weights(str(step)) for step in self.steps()]
        where = results.where(shown, variant=ALL, density=self.densities[-1])
        return {"auc": found, "journeys": [{**where, **one} for one in rows_of_fates(followed.final, weights, steps)]}

    def figures(self) -> Sequence[Figure]:
        fates = "The four fates of weights are to be among the largest at the end or not, and at a tenth of training or not."
        size, rank = (
            Panel("value", "|w| (standard deviations of the layer's initial values)"),
            Panel("value", "rank among all weights (%)", 100),
        )
        line = Panel("value", "AUC of |w| at the step for the final mask", threshold=DECIDED)
        return [
            Figure(
                "journeys", "The journeys of weights", (size, rank), kind="journeys", detail="journeys", arms=tuple(FATES), caption=fates
            ),
            Figure("auc", "When it is decided which weights stay", (line,), kind="profile", detail="auc", x_label="training iteration"),
            Figure("signs", "Signs under iterative pruning", (FLIPPED,), arms=("imp", "lrr"), variants=(ALL,)),
            Figure("survival", "How long grown connections live", (SURVIVAL,), arms=("rigl", "set"), variants=(ALL,)),
        ]

    @claim(
        "MOV-C3",
        "proposed here",
        "Masks are decided early, but not at initialisation: |w_0| tells kept from pruned weights with an AUC of at most 0.65, and |w_t| "
        "with one of 0.95 before the iteration of early stopping.",
    )
    def early(self, table: Evidence) -> Iterable[Effect]:
        whole = table.only(variant=ALL)
        at = list(range(1, len(self.densities) + 1))
        yield whole.effect("AUC at the start below 0.65", "", 0.65 - whole.of("auc_start", "dense", at))
        reached, stop = whole.of("auc_reached", "dense", at), whole.of("es_iteration", "dense", at)
        ratio = np.log2(stop.clip(1) / reached.clip(1, 2 * stop.max(axis=None)))
        yield whole.effect("an AUC of 0.95 sooner than the early stop", "log2 ratio", ratio, lacks=whole.censored(["dense"], at))

    @claim(
        "MOV-C4",
        "after Gadhikar & Burkholz 2024",
        "Kept weights flip their signs less often than pruned ones, and stop flipping earlier; learning-rate rewinding flips more signs "
        "than rewinding of weights in the first rounds.",
        note="Seldomer means by a tenth of a flip, earlier by 2 % of training, and more by a percentage point. First rounds are "
        "those of 20 % density and above.",
    )
    def signs(self, table: Evidence) -> Iterable[Effect]:
        whole = table.only(variant=ALL)
        at = list(range(1, len(self.densities) + 1))
        kept, pruned, last_kept, last_pruned = (
            whole.of(name, "dense", at) for name in ("flips_kept", "flips_pruned", "last_kept", "last_pruned")
        )
        yield whole.effect("flips of pruned weights, beyond those of kept ones", "", pruned - kept, least=0.1)
        yield whole.effect("last flip of pruned weights, later than of kept ones", "of training", last_pruned - last_kept, least=0.02)
        first = [level for level, density in enumerate(self.densities, 1) if density >= 0.2]
        yield whole.above("lrr", "imp", FLIPPED, first, least=1.0)

    @claim(
        "MOV-C7",
        "after Evci et al. 2020",
        "Connections that are grown where the gradient is largest survive longer than those that are grown at random.",
        note="It is judged by the share of grown connections that outlive five updates, at 20 % density. Longer means by 5 "
        "percentage points.",
    )
    def growth(self, table: Evidence) -> Iterable[Effect]:
        yield table.only(variant=ALL).above("rigl", "set", SURVIVAL, [self.grown_at], least=5.0)


def _name(path: str) -> str:
    return path.removesuffix("/kernel")


def _layers(followed: Followed) -> dict[str, list[str]]:
    return {ALL: list(followed.final), **{_name(path): [path] for path in followed.final}}


def _of(followed: Followed, steps: Sequence[int], paths: Sequence[str]) -> Values:
    """The columns of some leaves together."""
    kept, flips, last, decided = (
        np.concatenate([np.ravel(tree[path]) for path in paths])
        for tree in (followed.final, followed.flips, followed.last_flip, followed.decided)
    )
    curve = np.array(followed.pooled if len(paths) == len(followed.final) else followed.auc[paths[0]])
    reached = np.flatnonzero(curve >= DECIDED)
    tenth = int(np.searchsorted(steps, 0.1 * steps[-1]))
    counts = np.array([np.count_nonzero(followed.final[path]) for path in paths])
    back = np.array([followed.comebacks[path][tenth] for path in paths])

    def mean(values: np.ndarray, group: np.ndarray) -> float:
        return float(values[group].mean()) if group.any() else float("nan")

    return {
        "auc_start": float(curve[0]),
        "auc_reached": float(steps[reached[0]]) if len(reached) else float("inf"),
        "decided": float(np.median(decided[kept])) if kept.any() else float("nan"),
        "comebacks": float(np.nansum(back * counts) / counts.sum()) if counts.sum() else float("nan"),
        "flips_kept": mean(flips, kept),
        "flips_pruned": mean(flips, ~kept),
        "last_kept": mean(last, kept & (last >= 0)) / steps[-1],
        "last_pruned": mean(last, ~kept & (last >= 0)) / steps[-1],
    }
