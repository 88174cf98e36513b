"""Where a ticket's initial values come from, and how exactly they matter (appendix)."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tombola.evaluation.histogram import density_of, valley
from tombola.studies import Action, Details, Effect, Evidence, Figure, Panel, Results, Row, Run, Task, Values, aside, claim, study
from tombola.studies.frankle2019.common import ARMS, Compared
from tombola.studies.tickets import (
    ACC_ES,
    ACC_FINAL,
    RUN_METRICS,
    Level,
    Positive,
    Several,
    at_once,
    chain_rows,
    run_metrics,
    spread_levels,
    tickets,
)

EDGES = np.linspace(-2.5, 2.5, 41)
"""Bins of the histograms, in standard deviations of the layer's initial values."""
VALLEYS = {"valley_first": "first layer", "valley_middle": "last hidden layer", "valley_output": "output layer"}


@study(
    "frankle2019.initial_values",
    task="mnist1d-mlp",
    answers="Is it the distribution of a ticket's initial values, or each value, and how exactly?",
)
class InitialValues(Compared):
    """Tickets whose initial values are kept, drawn again, disturbed; and their distribution, for the task's optimiser and for SGD."""

    chosen = {"rewind": "this study is about initial values; leave it at '0it'"}
    scales = {
        "smoke": {"replicates": 2, "levels": 2, "compared": (2,), "noise": (0.5, 3.0)},
        "paper": {"levels": 20, "compared": (5, 7, 9, 11, 13, 15, 18)},
    }
    columns = (*RUN_METRICS, *VALLEYS)

    noise: Several[Positive] = (0.5, 1.0, 2.0, 3.0)
    """Standard deviations of the Gaussian noise, as multiples of that of the layer's initialiser."""
    compared: tuple[Level, ...] = (5, 7, 9, 11, 13)
    """Levels at which the controls are trained."""
    sgd_rate: Positive = 0.1
    """The learning rate of networks trained by SGD, whose tickets' initial values are shown beside those of the task's optimiser."""

    @property
    def arms(self) -> Mapping[str, str]:
        return {
            **ARMS,
            "resample": "same mask, values of kept weights",
            "before": "pruned before training",
            **{f"noise{scale:g}": f"ticket + {scale:g} sigma noise" for scale in self.noise},
            "sgd": "winning ticket, SGD",
        }

    def _tasks(self) -> dict[str, Task]:
        """Arm of tickets -> their task."""
        sgd = self.task.recipe.but(optimizer="sgd", learning_rate=self.sgd_rate)
        return {"ticket": self.task, "sgd": self.task.but(recipe=sgd)}

    def rows(self) -> Iterable[Row]:
        """Tickets and their controls, then tickets of SGD."""
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)
            yield from chain_rows("ticket", replicate, chain)
            for level in self.within(self.compared):
                yield from (Row(arm, replicate, level, run) for arm, run in self._controls(chain[0], chain[level], level).items())
        for replicate in range(self.replicates):
            yield from chain_rows("sgd", replicate, tickets(self, replicate, self._tasks()["sgd"]))

    def _controls(self, dense: Run, ticket: Run, level: int) -> dict[str, Run]:
        same = Action(name="parent_mask", of=(ticket.its_mask(),))

        def starts(name: str, stream: str, **options: Any) -> Run:
            return ticket.but(mask=same, kept=Action(name=name, options={**options, "stream": stream}))

        before = at_once(self.pruning.but(criterion="large_init", prune_at="0it"), dense, level)
        return {
            "reinit": starts("reinit", f"reinit/{level}/0"),
            "resample": starts("resample", f"resample/{level}"),
            "before": ticket.but(mask=before),
            **{f"noise{scale:g}": starts("noise", f"noise/{level}", scale=scale) for scale in self.noise},
        }

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        return {row.run: ("0it",) for row in rows if row.level == 0}

    # -- the distribution of initial values ----------------------------------------------------------------------------

    def measure(self, row: Row, results: Results) -> Values:
        """The metrics of all runs; of tickets also how hollow the distribution of their initial values is in three layers: the
        first, the last but one, and the output layer (`tombola.evaluation.histogram.valley`).
        """
        found = run_metrics(row, results) | dict.fromkeys(VALLEYS, np.nan)
        if row.arm in ("ticket", "sgd") and row.level:
            leaves = list(_kept_values(Run(task=row.run.task, seed=row.run.seed), row.run, results))
            layers = {"valley_first": leaves[0], "valley_output": leaves[-1]} | ({"valley_middle": leaves[-2]} if len(leaves) > 2 else {})
            found |= {name: valley(values, sigma) for name, (_, values, sigma) in layers.items()}
        return found

    def details(self, results: Results) -> Details:
        """Histograms of the kept weights' initial values by layer, for the task's optimiser and for SGD."""
        found: dict[str, list[Values]] = {"ticket": [], "sgd": []}
        centres = (EDGES[:-1] + EDGES[1:]) / 2
        for arm, task in self._tasks().items():
            for replicate in range(self.replicates):
                chain = tickets(self, replicate, task)
                for level in spread_levels(self.levels, 4):
                    density = results[chain[level]].summary["density"]
                    for layer, values, sigma in _kept_values(chain[0], chain[level], results):
                        where = {"variant": layer, "arm": arm, "level": level, "density": density, "replicate": replicate}
                        heights = density_of(values / sigma, EDGES)
                        found[arm] += [{**where, "x": float(x), "value": float(y)} for x, y in zip(centres, heights, strict=True)]
        return {"initial_values_task": found["ticket"], "initial_values_sgd": found["sgd"]}

    def figures(self) -> Sequence[Figure]:
        noisy = tuple(f"noise{scale:g}" for scale in self.noise)
        drawn = (
            "Values of kept weights are drawn anew from those that the ticket keeps; what is pruned before training are the smallest |w_i|."
        )
        disturbed = "The Gaussian noise is in units of sigma, the standard deviation of the layer's initialiser."
        heights = "Histograms are over the layer's kept weights, and have area 1."
        both, again, shown = (ACC_ES, ACC_FINAL), ("ticket", "reinit", "resample", "before"), spread_levels(self.levels, 4)
        figures = [
            Figure("resampled", "Initial values drawn again", both, arms=again, caption=drawn),
            Figure("noise", "Noise on the ticket's initial values", both, arms=("ticket", *noisy, "reinit"), caption=disturbed),
        ]
        for which, label in (("task", self.task.recipe.optimizer), ("sgd", "SGD")):
            title, detail = f"Initial values of the weights that remain, {label}", f"initial_values_{which}"
            figure = Figure(f"distribution_{which}", title, (Panel("value", "density"),), "profile", detail=detail, levels=shown)
            figures.append(replace(figure, x_label="initial value (layer's sigma)", caption=heights))
        return figures

    # -- claims --------------------------------------------------------------------------------------------------------

    @claim(
        "LTH-C8",
        "appendix",
        "Initial values of the weights that remain are bimodal, away from 0: with Adam in all layers but the first, with SGD in all.",
        note="It is judged at 22 % density or less. A distribution is bimodal if values near 0 are rarer than values near one sigma; "
        "log2 of the two is -0.71 for a normal distribution. Any difference counts.",
    )
    def values_are_bimodal(self, table: Evidence) -> Iterable[Effect]:
        at, optimizer = table.levels(0, 0.22), self.task.recipe.optimizer
        other = "" if optimizer in ("adam", "adamw") else f"the claim is about Adam and SGD, and the task trains with {optimizer}"
        for arm, called, lacks in (("ticket", "Adam", other), ("sgd", "SGD", "")):
            for metric, layer in VALLEYS.items():
                exception = arm == "ticket" and metric == "valley_first"
                values = table.of(metric, arm, at) * (-1 if exception else 1)
                name = f"{called}, {layer}: values near 0 {'no rarer' if exception else 'rarer'} than near one sigma{table.said(at)}"
                yield table.effect(name, "log2 ratio", values, lacks=lacks or table.lacking([arm], metric, at))

    @claim(
        "LTH-C9",
        "appendix",
        "A re-initialisation drawn from the initial values of the kept weights is no better than one from the initialiser.",
    )
    def their_distribution_is_not_enough(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, 0.35)
        yield table.within("reinit", "resample", ACC_ES, at, note="so drawing from the kept values gains less than that")
        yield aside(table.above("ticket", "resample", ACC_ES, at))

    @claim(
        "LTH-C10",
        "appendix",
        "Pruning the smallest weights before training is worse than re-initialising the mask of a winning ticket.",
    )
    def pruning_before_training_is_worse(self, table: Evidence) -> Iterable[Effect]:
        yield table.above("reinit", "before", ACC_ES, table.levels(0, 0.22))

    @claim(
        "LTH-C13",
        "appendix",
        "Noise of half a sigma on a ticket's initial values is harmless; the more there is, up to three sigma, the lower the accuracy, "
        "which is still above that of a fresh initialisation.",
        note="It is judged at 22 % density or less.",
    )
    def noise_costs_accuracy(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, 0.22)
        yield table.within("noise0.5", "ticket", ACC_ES, at)
        inside = sorted({0.5, 3.0, *(scale for scale in self.noise if 0.5 < scale < 3)})
        for smaller, larger in itertools.pairwise(f"noise{scale:g}" for scale in inside):
            yield table.above(smaller, larger, ACC_ES, at)
        yield table.above("noise3", "reinit", ACC_ES, at)


def _kept_values(dense: Run, ticket: Run, results: Results) -> Iterator[tuple[str, np.ndarray, float]]:
    """(layer, initial values of the weights that a ticket keeps, standard deviation of all) of each layer."""
    initial = results[dense].weights("0it")
    for path, leaf in results[ticket].weights("mask").items():
        yield path.removesuffix("/kernel"), initial[path][leaf], float(initial[path].std())
