"""Weights trained by an evolution strategy, pruned by what it knows of each: its mean, and how sure it is of it."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from tombola.core.task import Count
from tombola.studies import Effect, Evidence, Figure, Measurement, Panel, Positive, Results, Share, claim, dense_run
from tombola.studies.base import Row, Study, Values, study
from tombola.studies.search.common import MARGIN

ACC = Panel("acc", "test accuracy, pruned at once (%)", 100)
TRAINED = {"evolved": "trained by evolution", "gradient": "trained by gradients"}


@study("search.evolved", task="digits-20-mlp", answers="Is what an evolution strategy knows of a weight worth more than its size?")
class Evolved(Study):
    """Networks trained by an evolution strategy, or by gradients with a strategy around them, pruned by |mean / sigma| and by |mean|."""

    paper = "Tombola's own question, after Lange & Sprekeler 2023"
    scales = {"smoke": {"replicates": 2, "budget": 20_000, "batch": 60, "mask_densities": (0.5, 0.2)}}
    columns = ("acc", "whole_acc", "spread")
    arms = {"snr": "by |mean / sigma|", "mean": "by |mean|", "random": "at random"}
    variants = TRAINED

    budget: Annotated[int, Field(ge=1000)] = 15_000_000
    """The cost of the strategy that trains, in forward passes of single examples. Around weights trained by gradients it gets a tenth of
    that."""
    strategy: Literal["SNES", "Sep_CMA_ES"] = "SNES"
    """The evolution strategy."""
    population: Annotated[int, Field(ge=4)] = 64
    """The number of networks in a generation."""
    std: Positive = 0.1
    """The standard deviation sigma at the beginning. Around weights trained by gradients it is a tenth of that."""
    batch: Count = 256
    """How many training examples all networks of a generation are scored on."""
    mask_densities: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.7, 0.5, 0.4, 0.3, 0.2, 0.1)
    """The shares of each layer's weights that are kept."""

    def rows(self) -> Iterable[Row]:
        """One measurement a replicate and kind of training."""
        for variant in TRAINED:
            for replicate in range(self.replicates):
                yield Row(
                    "mean", replicate, 0, dense_run(self, replicate), variant=variant, measurement=self._measurement(variant, replicate)
                )

    def _measurement(self, variant: str, replicate: int) -> Measurement:
        dense, share = dense_run(self, replicate), 1.0 if variant == "evolved" else 0.1
        options = {"budget": max(1, round(share * self.budget)), "densities": list(self.mask_densities), "strategy": self.strategy}
        options |= {"population": self.population, "std": share * self.std, "batch": self.batch, "held": variant == "gradient"}
        of = (dense.at("0it" if variant == "evolved" else "end"),)
        return Measurement(task=dense.task, seed=dense.seed, name="evolved_weights", of=of, options=options)

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each criterion and density, and the whole network as level 0 of each criterion."""
        found, column = results.of(row), self.task.objective.columns[1]
        common = {"whole_acc": float(found[f"whole_{column}"]), "spread": float(found["spread"])}
        whole = [{**common, "arm": arm, "level": 0, "density": 1.0, "acc": common["whole_acc"]} for arm in self.arms]
        return whole + [
            {**common, "arm": arm, "level": level, "density": float(density), "acc": float(found[f"{arm}_{column}"][level - 1])}
            for arm in self.arms
            for level, density in enumerate(found["densities"], 1)
        ]

    def figures(self) -> Sequence[Figure]:
        said = "Nothing is trained after pruning. For weights trained by gradients, sigma is what a strategy adapts it to around them."
        return (Figure("evolved", "Pruning by what an evolution strategy knows", (ACC,), caption=said),)

    @claim(
        "SEARCH-C6",
        "I8",
        "Of weights trained by an evolution strategy, pruning by |mean / sigma| leaves more accuracy than pruning by |mean|; of weights "
        "trained by gradients it does not.",
        note="Networks are pruned at once, and nothing is trained afterwards. It is judged by the mean over densities from 20 to 70 "
        f"%, and more means by more than {MARGIN:g} pp.",
    )
    def certainty_beats_size(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0.15, 0.75)
        evolved, gradient = (table.only(variant=variant) for variant in TRAINED)
        yield evolved.above("snr", "mean", ACC, at, least=MARGIN)
        better = gradient.of(ACC, "snr", at) - gradient.of(ACC, "mean", at)
        name = f"{table.called('snr')} no more than {MARGIN:g} pp above {table.called('mean')}"
        yield gradient.effect(name, "pp", MARGIN - better, lacks=gradient.lacking(["snr", "mean"], ACC, at))
