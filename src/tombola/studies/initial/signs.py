"""Signs that training has found: from which step on do they carry a ticket?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from tombola.procedures.run import Action, Run, RunRef
from tombola.studies import Effect, Evidence, Figure, Results, Row, Step, Values, aside, claim, study
from tombola.studies.tickets import ACC_FINAL, Each, Level, TicketStudy, reinitialised, tickets
from tombola.studies.transplant.common import COLLAPSED, TRAINED, trained

NOTE = "Judged at 3 to 8 % density, on test accuracy at the end. Signs are those of the ticket's own training."
FIVE = (0.03, 0.08)


@study("initial.signs", task="digits-mlp", answers="From which step of its training on do a ticket's signs make a fresh draw as good?")
class LearntSigns(TicketStudy):
    """The mask of a ticket over a fresh draw with the signs that the ticket has at some step of training, and over its final magnitudes
    with fresh signs.
    """

    columns = TRAINED
    scales = {
        "smoke": {"replicates": 2, "levels": 2, "compared": (2,), "shares": (0.0, 1.0)},
        "small": {"replicates": 6, "levels": 13, "compared": (5, 10, 13)},
        "paper": {"replicates": 8, "levels": 16, "compared": (3, 5, 8, 11, 13, 16)},
    }

    compared: Annotated[tuple[Level, ...], Field(min_length=1)] = (5, 10, 13)
    """Levels at which tickets are compared with others; those beyond `levels` do not count."""
    shares: Annotated[Each[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2)] = (0.0, 0.02, 0.05, 0.1, 0.3, 1.0)
    """The steps whose signs are taken, as shares of training. The second is the early step that is judged, the last is the end."""

    @property
    def arms(self) -> Mapping[str, str]:
        signs = {self._arm(share): f"fresh draw, signs of {self._called(share)}" for share in self.shares}
        return {"ticket": "winning ticket", **signs, "magnitudes": "final magnitudes, fresh signs", "reinit": "fresh draw"}

    def _step(self, share: float) -> Step:
        return Step("end") if share == 1 else self.task.recipe.steps.times(share) if share else Step("0it")

    def _called(self, share: float) -> str:
        return "the end" if share == 1 else f"iteration {self._step(share).removesuffix('it')}"

    def _arm(self, share: float) -> str:
        return f"signs_{share:g}"

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)
            yield Row("ticket", replicate, 0, chain[0])
            for level in self.within(self.compared):
                ticket, fresh = chain[level], reinitialised(chain[level], level)
                yield Row("ticket", replicate, level, ticket)
                for share in self.shares:
                    yield Row(self._arm(share), replicate, level, self._signed(fresh, ticket.at(self._step(share)), fresh.at(fresh.begin)))
                yield Row("magnitudes", replicate, level, self._signed(fresh, fresh.at(fresh.begin), ticket.at("end")))
                yield Row("reinit", replicate, level, fresh)

    def _signed(self, fresh: Run, signs: RunRef, magnitudes: RunRef) -> Run:
        rest = "signs" if magnitudes.what == "end" else "magnitudes"
        return fresh.but(kept=Action(name="signs_of", of=(signs, magnitudes), options={"rest": rest}))

    def measure(self, row: Row, results: Results) -> Values:
        return trained(row.run, results)

    def figures(self) -> Sequence[Figure]:
        return [Figure("signs", "Signs found in training", (ACC_FINAL, COLLAPSED))]

    @claim(
        "INIT-C3",
        "IDEAS I4; Gadhikar & Burkholz 2024",
        "The signs that training ends with, over random magnitudes, make a start as good as the ticket's; the magnitudes that it ends "
        "with, under random signs, are no better than a fresh draw.",
        note=f"{NOTE} As good, and no better, both mean by less than the margin.",
    )
    def learnt_signs_suffice(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(*FIVE)
        yield table.within(self._arm(self.shares[-1]), "ticket", ACC_FINAL, at)
        yield table.within("reinit", "magnitudes", ACC_FINAL, at)
        yield aside(table.above("ticket", "reinit", ACC_FINAL, at))

    @claim(
        "INIT-C4",
        "IDEAS I4",
        "Signs of an early step suffice.",
        note=f"{NOTE} Early is the second of the steps. To suffice is to be less than the margin below the ticket, and above a fresh draw.",
    )
    def early_signs_suffice(self, table: Evidence) -> Iterable[Effect]:
        at, early = table.levels(*FIVE), self._arm(self.shares[1])
        yield table.within(early, "ticket", ACC_FINAL, at)
        yield table.above(early, "reinit", ACC_FINAL, at)
