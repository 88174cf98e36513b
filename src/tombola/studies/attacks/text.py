"""Attacks on classifiers of texts: what decides whether they succeed, the words that may be swapped in, or the network?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.parts import tasks
from tombola.core.task import Count, Task
from tombola.evaluation.paired import at_an_end
from tombola.studies import Effect, Figure, Measurement, Panel, Results, Row, Run, Scale, TombolaError, Values, dense_run, study
from tombola.studies.claims import claim
from tombola.studies.evidence import DENSE, Evidence, aside, hardest
from tombola.studies.setting import on_own_text
from tombola.studies.tickets import Share, TicketStudy, reinitialised, tickets

SETS = {"near": "near words", "frequent": "words as frequent"}
LEFT = Panel("left_acc", "test accuracy, words swapped (%)", 100)
LEAST = 1.0
"""Difference, in pp, that counts between two differences of success."""


@study(
    "attacks.text",
    task="words-parts",
    answers="Does swapping words mislead tickets more than dense networks, or does it depend on the words?",
)
class Text(TicketStudy):
    """Networks that tell from where in a text some words are, when a share of these is swapped for others that are near by the vectors of
    a skip-gram, or that are only about as frequent.

    The skip-gram is trained once on the same text; its vectors are the dictionary that all replicates are attacked with.
    """

    paper = "Tombola's own question"
    columns = ("kept", "prunable", "clean_acc", "left_acc", "success", "known")
    arms = {"ticket": "winning ticket", "reinit": "same mask, fresh init"}

    levels: Annotated[int, Field(ge=1, le=60)] = 8
    shares: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.02, 0.05, 0.1)
    """The share of a text's words that may be swapped; one word at least."""
    neighbours: Count = 10
    """How many near words each word may be swapped for."""
    cosine: Annotated[float, Field(gt=-1, lt=1)] = 0.6
    """The smallest cosine at which two words count as near."""
    attacked_examples: Count | None = 300
    """How many test examples are attacked, the first ones. None: all."""
    text: str = ""
    """A text file of your own in place of the task's (`tombola.from_text`). The network learns to tell its ten tenths apart."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        return {"replicates": 2, "levels": 1, "attacked_examples": 50} if scale == "smoke" else super().at(scale, task)

    _on_its_text = on_own_text(length=64, parts=10)

    @property
    def variants(self) -> Mapping[str, str]:
        """What words are swapped for, and how many."""
        return {f"{name} {share:g}": f"{label}, {100 * share:g} %" for name, label in SETS.items() for share in self.shares}

    @property
    def dictionary(self) -> Run:
        """The skip-gram whose vectors say what words are near."""
        from tombola.data.text import from_text

        scale = "smoke" if self.task.recipe.steps.order < (0, 1000) else "small"
        task = tasks["words-skipgram-4m"](scale)
        if self.text:
            task = task.but(data=from_text(self.text))
        elif self.task.data.name != "wikipedia-parts":
            raise TombolaError(
                f"data set {self.task.data.name!r} has no text that words can be swapped in; leave it out, or set text=FILE.txt"
            )
        return dense_run(self, 0, task)

    def rows(self) -> Iterable[Row]:
        """Tickets with the dense network first, then their masks with fresh initial values; all of a replicate are attacked together."""
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)
            fresh = [reinitialised(run, level) for level, run in enumerate(chain[1:], 1)]
            options = {
                "shares": list(self.shares),
                "neighbours": self.neighbours,
                "cosine": self.cosine,
                "examples": self.attacked_examples,
            }
            of = tuple(run.at("end") for run in (self.dictionary, *chain, *fresh))
            found = Measurement(task=self.task, seed=chain[0].seed, name="word_swaps", of=of, options=options)
            yield from (Row("ticket", replicate, level, run, measurement=found) for level, run in enumerate(chain))
            yield from (Row("reinit", replicate, level, run, measurement=found) for level, run in enumerate(fresh, 1))

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """A row for each set of words and each share."""
        found, place = results.of(row), row.place - 1  # after the dictionary
        clean = float(found["clean_acc"][place])
        left = {(name, share): float(found[f"{name}_acc"][place, index]) for name in SETS for index, share in enumerate(self.shares)}
        return [
            {
                "variant": f"{name} {share:g}",
                "clean_acc": clean,
                "left_acc": acc,
                "success": 1 - acc / clean if clean else np.nan,
                "known": float(found[f"{name}_known"]),
            }
            for (name, share), acc in left.items()
        ]

    def figures(self) -> Sequence[Figure]:
        said = f"Words are swapped one at a time, each for one of up to {self.neighbours} words, by the gradient."
        near = f" Near words have a cosine of {self.cosine:g} or more between their vectors of a skip-gram."
        success = Panel("success", "texts that were right and are misled (%)", 100)
        return Figure("text", "Accuracy with swapped words", (LEFT,), caption=said + near), Figure(
            "success", "How often swapped words mislead", (success,), caption=said + near
        )

    @claim(
        "ATT-C7",
        "I5",
        "Whether swapped words mislead a classifier of texts is set by the words that may be swapped in, not by the network: success "
        "differs less between the dense network and its tickets than between two sets of words.",
        note=f"The difference has to be above {LEAST:g} pp of the texts that are right unattacked, at 10 to 60 % density. Of the "
        "shares of words it is judged at the one where it is hardest. Differences of networks are taken without their sign, "
        "which counts chance as a difference.",
    )
    def words_decide(self, table: Evidence) -> Iterable[Effect]:
        yield from hardest(self._apart(table, share) for share in self.shares)
        for variant in self.variants:
            part = table.only(variant=variant)
            at = part.levels(0.1, 0.6)
            one, other = part.pair("ticket", DENSE, "success", at)
            yield aside(part.effect("the ticket is misled more often than the dense network", "pp", 100 * (one - other)))

    def _apart(self, table: Evidence, share: float) -> Effect:
        near, frequent = (table.only(variant=f"{name} {share:g}") for name in SETS)
        at = near.levels(0.1, 0.6)
        pairs = [part.pair("ticket", DENSE, "success", at) for part in (near, frequent)]
        (near_ticket, near_dense), (frequent_ticket, frequent_dense) = pairs
        networks = 50 * ((near_ticket - near_dense).abs() + (frequent_ticket - frequent_dense).abs())
        words = 50 * ((near_ticket - frequent_ticket).abs() + (near_dense - frequent_dense).abs())
        rates = {name: 100 * other for name, (_, other) in zip(SETS.values(), pairs, strict=True)}
        lacks = near.lacking(["ticket"], "success", at) or at_an_end("success", rates, LEAST)
        return table.effect(
            f"{100 * share:g} % of the words: sets further apart than networks", "pp", words - networks, least=LEAST, lacks=lacks
        )
