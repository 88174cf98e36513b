"""Whether tickets are more or less robust than dense networks and their controls."""

from collections.abc import Iterable, Sequence

import numpy as np

from tombola.evaluation.paired import at_an_end
from tombola.studies import DENSE, Details, Effect, Evidence, Figure, Panel, Results, Row, aside, claim, hardest, picture, study
from tombola.studies.attacks.common import EQUAL, ROBUST, UnderAttack
from tombola.studies.tickets import randomly_masked, reinitialised, tickets

PICTURED = {"digits": (8, 8), "mnist": (28, 28), "fashion-mnist": (28, 28)}
"""Data set -> height and width of its pictures."""


@study("attacks.tickets", task="digits-mlp", answers="Are winning tickets more robust to attacks than dense networks, or less?")
class Tickets(UnderAttack):
    """Tickets, the same masks on fresh initial values, and random masks, under attack, over density."""

    arms = {"ticket": "winning ticket", "reinit": "same mask, fresh init", "random": "random mask"}

    def rows(self) -> Iterable[Row]:
        """Tickets with the dense network first, then both controls at each level."""
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)
            yield from self.rows_of("ticket", replicate, chain)
            for arm, control in (("reinit", reinitialised), ("random", lambda ticket, level: randomly_masked(self, ticket, level))):
                yield from self.rows_of(arm, replicate, [chain[0], *(control(run, level) for level, run in enumerate(chain[1:], 1))], 1)

    def details(self, results: Results) -> Details:
        """Attacked examples of the first replicate at the largest radius: the first four test examples, two by two."""
        if self.task.data.name not in PICTURED:
            return {}
        pictures = []
        for row in self.rows():
            if row.arm == "ticket" and row.replicate == 0 and row.level in (0, self.levels):
                four = [one.reshape(PICTURED[self.task.data.name]) for one in results.of(row)["picture"][row.place][:4]]
                pictures.append(picture(np.block([four[:2], four[2:]]), **results.where(row, variant=f"{self.eps[-1]:g}")))
        return {"picture": pictures}

    def figures(self) -> Sequence[Figure]:
        plain = Figure("clean", "Accuracy unattacked", (Panel("clean_acc", "test accuracy (%)", 100),), variants=(f"{self.eps[0]:g}",))
        far = Panel("distance", "median distance to another class (2-norm)")
        by_level = Figure("distance", "How far inputs have to move (DeepFool)", (far,), variants=(f"{self.eps[0]:g}",))
        found = (self.robust_figure("robust", "Accuracy under attack, standard training"), plain, by_level)
        pictures = Figure(
            "picture",
            "Test examples as PGD changes them against the dense network and the sparsest ticket",
            (Panel("value", "input"),),
            "image",
            detail="picture",
            arms=("ticket",),
            variants=(f"{self.eps[-1]:g}",),
            caption=f"These are the first four test examples of a replicate, attacked at radius {self.eps[-1]:g}.",
        )
        return (*found, pictures) if self.task.data.name in PICTURED else found

    @claim(
        "ATT-C1",
        "I5",
        "After standard training a winning ticket and the dense network are equally fragile.",
        note=f"Equally fragile means that accuracies under attack differ by less than {EQUAL:g} pp at 10 to 60 % density. A radius "
        f"counts if they could differ by more there: not if both are {EQUAL:g} % or less, nor if both lose {EQUAL:g} pp or less. "
        "Of those that count, the hardest is judged.",
    )
    def equally_fragile(self, table: Evidence) -> Iterable[Effect]:
        yield from _with_room(self._equal(table.only(variant=variant)) for variant in self.variants)

    def _equal(self, table: Evidence) -> Effect:
        at = table.levels(0.1, 0.6)
        one, other = table.pair("ticket", DENSE, ROBUST, at)
        away = EQUAL - (one - other).mean(axis=1).abs() if one.shape[1] else one
        name = f"accuracy under attack within {EQUAL:g} pp of the dense network's{table.said(at)}"
        clean = min(100 * float(table.of("clean_acc", arm, levels).mean(axis=1).mean()) for arm, levels in (("ticket", at), (DENSE, None)))
        room = at_an_end("accuracy under attack", {"ticket": one, "dense": other}, EQUAL, high=clean)
        return table.effect(name, "pp", away, lacks=table.lacking(["ticket", DENSE], ROBUST.metric, at) or room)

    @claim(
        "ATT-C3",
        "I5",
        "Winning tickets beat the same masks with fresh initial values under attack, too.",
        note="Tickets have to be above by more than one test example at 3 to 25 % density, where they win unattacked. Of the radii "
        "at which either network withstands more than one example, the hardest is judged.",
    )
    def order_holds(self, table: Evidence) -> Iterable[Effect]:
        parts = [table.only(variant=variant) for variant in self.variants]
        yield from _with_room(self._above(part, "reinit") for part in parts)
        yield from (aside(self._above(part, "random")) for part in parts)

    def _above(self, table: Evidence, other: str) -> Effect:
        at = table.levels(0.03, 0.25)
        one, control = table.pair("ticket", other, ROBUST, at)
        name = f"winning ticket above {table.called(other)}: accuracy under attack{table.said(at)}"
        least = 100 / (self.attacked_examples or 1000)
        room = at_an_end("accuracy under attack", {"ticket": one, other: control}, least)
        return table.effect(name, "pp", one - control, least=least, lacks=table.lacking(["ticket", other], ROBUST.metric, at) or room)


def _with_room(effects: Iterable[Effect]) -> list[Effect]:
    """The hardest of the effects at several radii, those left out, and shown, at which there is no room; if there is none anywhere, all."""
    found = list(effects)
    useless = [one for one in found if one.lacks.startswith("no room")]
    if len(useless) == len(found):
        return found
    return [*hardest(one for one in found if one not in useless), *(aside(one, one.lacks) for one in useless)]
