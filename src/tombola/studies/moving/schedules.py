"""Pruning while training against pruning in rounds, at equal densities and equal lengths of training."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from tombola.core.task import Supermask, Task
from tombola.studies import Effect, Evidence, Figure, Results, Row, Run, Values, claim, dense_run, hardest, study
from tombola.studies.effort import SPENT
from tombola.studies.moving.common import Iterative, labels, moving, once, sparse
from tombola.studies.tickets import ACC_ES, ACC_FINAL, Each, Several

METHODS = {
    "imp": "iterative pruning, rewound",
    "lrr": "iterative pruning, learning-rate rewinding",
    "cycled": "random mask, as many cycles as the latter",
    "cubic": "gradual, cubic",
    "linear": "gradual, linear",
    "rigl": "RigL",
    "set": "SET",
    "gates": "gates beside the weights",
    "random": "random mask (ERK)",
}
"""Method -> its label, but for those that prune once, which `shots` names."""


@study("moving.schedules", task="digits-mlp", answers="Networks train in any case: can they be pruned on the way, in one training?")
class Schedules(Iterative):
    """Each method's network at each density. All but iterative pruning and its control train once, as long as the dense network.

    Random masks, and those that SET and RigL begin with, have ERK densities of layers; gates the same density in each layer.
    """

    scales = {"smoke": {"replicates": 2, "densities": (0.1,), "per_round": 0.9, "shots": (0.1,), "updates": 8}}

    methods: Several[str] = tuple(METHODS)
    """The ways of pruning that are compared."""
    shots: Each[Annotated[float, Field(gt=0, le=1)]] = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    """The moments at which a network is pruned once, as shares of training. 1: at the end, and it is not trained on."""
    updates: Annotated[int, Field(ge=2)] = 40
    """How many mask updates would fill a training. Those up to `until` are made."""
    until: Annotated[float, Field(gt=0, le=1)] = 0.75
    """The share of training after which masks no longer move."""
    drop: Annotated[float, Field(gt=0, le=1)] = 0.3
    """The share of a layer's weights that SET and RigL exchange at first; it falls along a cosine."""

    @property
    def arms(self) -> Mapping[str, str]:
        return labels(METHODS, self.methods) | {shot: f"once, after {share:.0%} of training" for shot, share in self._shots().items()}

    def _shots(self) -> dict[str, float]:
        return {f"once_{100 * share:g}": share for share in self.shots}

    def rows(self) -> Iterable[Row]:
        """All levels of each method; the dense network stands with the first."""
        for replicate in range(self.replicates):
            chains = {arm: self.by_level(self.imp(replicate, continued=arm == "lrr")) for arm in ("imp", "lrr")}
            for place, arm in enumerate(self.arms):
                if place == 0:
                    yield Row(arm, replicate, 0, dense_run(self, replicate))
                for level, density in enumerate(self.densities, 1):
                    own = chains[arm][level] if arm in chains else self._run(arm, replicate, level, density)
                    yield Row(arm, replicate, level, own)

    def _run(self, arm: str, replicate: int, level: int, density: float) -> Run:
        if arm == "cycled":
            return self.cycled(replicate, level)
        dense = dense_run(self, replicate)
        return dense.but(task=self._task(arm, density), mask=sparse(density) if arm in ("random", "rigl", "set") else None)

    def _task(self, arm: str, density: float) -> Task:
        recipe, every = self.task.recipe, str(self.task.recipe.steps.times(1 / self.updates))
        if arm in self._shots():
            return once(self.task, density, self._shots()[arm], self.scope)
        if arm in ("cubic", "linear"):
            end = str(recipe.steps.times(self.until))
            return moving(self.task, "gradual", final=density, end=end, every=every, shape=arm, scope=self.scope)
        if arm in ("rigl", "set"):
            return moving(self.task, arm, drop=self.drop, every=every, until=self.until, anneal="cosine")
        return self.task.but(recipe=recipe.but(supermask=Supermask(method="gates", density=density))) if arm == "gates" else self.task

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The values of a row; gates get the density that they have, as their run's mask keeps all."""
        values = super().measure(row, results)
        assert isinstance(values, dict)
        if row.arm != "gates" or row.level == 0:
            return values
        sizes = [size for _, size in results.network_info(row.run.task.but(recipe=self.task.recipe)).prunable_weights]
        kept = sum(max(1, round(self.densities[row.level - 1] * size)) for size in sizes)
        return {**values, "kept": kept, "density": kept / values["prunable"]}

    def figures(self) -> Sequence[Figure]:
        caption = "All methods keep the same shares of all prunable weights. Cost is examples times density, over all rounds."
        shown = {"schedules": [arm for arm in self.arms if arm not in self._shots()], "shots": ["cubic", "linear", *self._shots()]}
        titles = {"schedules": "Pruning in rounds and on the way", "shots": "Pruning once, after a share of training"}
        own = [
            Figure(name, titles[name], (ACC_FINAL, ACC_ES), arms=tuple(arm for arm in arms if arm in self.arms), caption=caption)
            for name, arms in shown.items()
        ]
        return [*own, Figure("cost", "Accuracy against cost", (ACC_FINAL,), kind="scatter", across=SPENT, caption=caption)]

    @claim(
        "MOV-C1",
        "after Zhu & Gupta 2017",
        "Gradual pruning within one training matches iterative pruning with rewinding at 20 % density and above, and is worse at 5 % and "
        "below.",
    )
    def one_training(self, table: Evidence) -> Iterable[Effect]:
        yield table.within("cubic", "imp", ACC_FINAL, table.levels(0.15, 0.999))
        yield table.above("imp", "cubic", ACC_FINAL, table.levels(0, 0.0501), least=table.margin)

    @claim(
        "MOV-C2",
        "after Evci et al. 2020",
        "At 10 % density and below, growth by gradient (RigL) is better than growth at random (SET), and that better than a random mask "
        "that stays; at 50 % they are equal.",
        note="Better means by more than one test example. The random mask is equal if it is less than the margin below RigL.",
    )
    def growth(self, table: Evidence) -> Iterable[Effect]:
        small = table.levels(0, 0.1001)
        yield table.above("rigl", "set", ACC_FINAL, small)
        yield table.above("set", "random", ACC_FINAL, small)
        yield table.within("random", "rigl", ACC_FINAL, table.levels(0.4999, 0.6))

    @claim(
        "MOV-C8",
        "after Zhu & Gupta 2017",
        "A cubic schedule is no worse than a linear one, and a linear one no worse than pruning once, at whatever moment before the end.",
        note="No worse means less than the margin below, over all densities together.",
    )
    def shapes(self, table: Evidence) -> Iterable[Effect]:
        every = table.levels(0, 0.999)
        yield table.within("cubic", "linear", ACC_FINAL, every)
        yield from hardest(table.within("linear", arm, ACC_FINAL, every) for arm, share in self._shots().items() if share < 1)
