"""Claims as data: a sentence of a paper, and its parts as effects on the table of a study."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tombola.core.objective import find_objective
from tombola.core.registry import plain
from tombola.evaluation.verdict import Effect, Verdict
from tombola.studies.evidence import Evidence
from tombola.studies.results import Frame


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, whole and in our words, and what on a study's table it comes to. Made by `claim` of a study's method."""

    id: str
    where: str
    """Section and figure of the study's `paper`."""
    sentence: str
    parts: Callable[[Any, Evidence], Iterable[Effect]]
    """(study, its table) -> one effect for each part of the sentence."""
    about: Callable[[Any], str]
    note: str | Callable[[Any], str]

    def judge(self, study: Any, table: Frame) -> Verdict:
        """The verdict on the table of a study."""
        source = f"{study.paper}, {self.where}" if study.paper else self.where
        objective, learns = study.task.objective, study.learns
        if objective.first_measure not in [find_objective(name)().first_measure for name in learns]:
            lacks = f"the claim is about {' and '.join(learns)}; the task learns {objective.name}"
            return Verdict(self.id, self.sentence, source, (), lacks=lacks)
        note = self.note(study) if callable(self.note) else self.note
        return Verdict(
            self.id, self.sentence, source, tuple(self.parts(study, Evidence(study, table))), note, self.about(study) or study.departure()
        )


def claim(
    id: str, where: str, sentence: str, *, about: Callable[[Any], str] = lambda study: "", note: str | Callable[[Any], str] = ""
) -> Callable[[Callable[[Any, Evidence], Iterable[Effect]]], Claim]:
    """Make a claim of the method under it, ``(self, table: Evidence) -> effects``, one for each part of the sentence.

    Args:
        id: of the claim, e.g. "LTH-C3".
        where: section and figure of the paper.
        sentence: what the paper claims, whole, in our words.
        about: (study) -> why the sentence is not about the study's network and data: then its parts are shown as an analogue, and
            nothing is judged; "" if it is about them.
        note: said beside the verdict, or a function of the study that says it.
    """
    return lambda parts: Claim(id, where, sentence, parts, about, note)


def about(named: str, *models: str) -> Callable[[Any], str]:
    """The condition of a `claim` about some networks and no others: what its sentence calls them, and their names here."""

    def differs(study: Any) -> str:
        model = plain(study.task.model.name)
        return "" if model in models else f"the claim is about {named}, and the network here is {model}"

    return differs
