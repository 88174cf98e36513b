"""Attacks on tables: whether they make sense there, and what pruned inputs do to them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from tombola.evaluation.statistics import rank_correlation
from tombola.studies import DENSE, Effect, Evidence, Figure, Panel, Results, Row, Scale, Task, Values, claim, study
from tombola.studies.attacks.common import UnderAttack
from tombola.studies.tickets import Positive, randomly_masked, reinitialised, tickets

KINDS = {"free": "any change", "constrained": "plausible changes alone"}
OF_DATA: dict[str, dict[str, Any]] = {
    "breast_cancer": {"relations": tuple({str(20 + place): 1.0, str(place): -1.0} for place in range(10))},
    "wine": {"integers": (12,)},
}
"""Data set -> what is known of its columns: the worst value of a measurement is no smaller than its mean; proline is whole."""
ALIKE = 0.3
"""Rank correlation from which on one thing is said to follow another."""
LEFT = Panel("left_acc", "test accuracy under attack (%)", 100)


@study("attacks.tables", task="cancer-mlp", answers="Do attacks make sense on tables, and is a network that reads fewer columns safer?")
class Tables(UnderAttack):
    """Networks on a table under attacks that may do anything within a radius, and under those whose rows could be rows."""

    columns = ("kept", "prunable", "clean_acc", "left_acc", "implausible", "live_inputs", "distance")
    arms = {"ticket": "winning ticket", "reinit": "same mask, fresh init", "random": "random mask"}

    eps: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=1)] = (0.5,)
    """The radius in the maximum norm, in the `unit` of each column."""
    unit: Literal["std", "range"] = "std"
    """The unit of `eps`: the standard deviation of each column, or its range."""
    immutable: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """The places of columns that an attack must not change."""
    integers: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """The places of columns that hold whole numbers, and must go on doing so."""
    relations: tuple[dict[str, float], ...] = ()
    """Linear relations between columns, each a table from column to coefficient c with the sum of c x at least 0: a row that fulfils one
    must go on doing so. For data sets of scikit-learn the known ones are filled in."""
    levels: Annotated[int, Field(ge=1, le=60)] = 13

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        return {**super().at(scale, task), "eps": (0.5,), **OF_DATA.get(task.data.name, {})}

    @property
    def variants(self) -> Mapping[str, str]:
        """What attacks may do."""
        return KINDS

    def rows(self) -> Iterable[Row]:
        """Each network under both kinds of attack."""
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)
            chains = {"ticket": chain, "reinit": [chain[0]], "random": [chain[0]]}
            for level, ticket in enumerate(chain[1:], 1):
                chains["reinit"].append(reinitialised(ticket, level))
                chains["random"].append(randomly_masked(self, ticket, level))
            for arm, runs in chains.items():
                for kind in KINDS:
                    first = arm != "ticket"
                    found = self.under_attack(runs[first:], **self._options(kind))
                    yield from (
                        Row(arm, replicate, level, run, variant=kind, measurement=found) for level, run in enumerate(runs) if level >= first
                    )

    def _options(self, kind: str) -> dict[str, Any]:
        bound = {"fixed": list(self.immutable), "integers": list(self.integers)} if kind == "constrained" else {}
        relations = [dict(one) for one in self.relations]
        return {"unit": self.unit, "plausible": True, "relations": relations, "bounded": kind == "constrained", **bound}

    def measure(self, row: Row, results: Results) -> Values:
        """What is left under attack; of plausible changes alone, what those leave."""
        found, place = results.of(row), row.place
        first = next(iter(results[row.run].weights("mask").values()))
        left = "robust_acc" if row.variant == "free" else "plausible_acc"
        return {
            "clean_acc": float(found["clean_acc"][place]),
            "left_acc": float(found[left][place, 0]),
            "implausible": float(found["implausible"][place, 0]),
            "live_inputs": int(first.any(axis=1).sum()),
            "distance": float(found["distance"][place]),
        }

    def figures(self) -> Sequence[Figure]:
        unit = {"std": "standard deviations", "range": "ranges"}[self.unit]
        said = f"{self.ensemble.partition(';')[0]}, at a radius of {self.eps[0]:g} {unit} of each column."
        bound = " Plausible rows are within the range of training rows, no outliers of their predicted class, and keep the known relations."
        useless, live = (
            Panel("implausible", "successful attacks that are no plausible rows (%)", 100),
            Panel("live_inputs", "columns that are read"),
        )
        return (
            Figure("tables", "Accuracy under attack on a table", (LEFT,), caption=said + bound),
            Figure("implausible", "How many attacks are implausible", (useless,), variants=("free",), caption=said + bound),
            Figure(
                "live",
                "Accuracy under attack by the columns that are read",
                (LEFT,),
                "scatter",
                across=live,
                arms=("ticket",),
                variants=("free",),
                caption=said,
            ),
        )

    @claim(
        "ATT-C6",
        "I5",
        "On tables most successful unconstrained attacks are implausible, and under constraints the accuracy comes back by more than half "
        "of its drop.",
        note="Both parts are about the dense network. Where an attack takes nothing away, nothing can come back, and the second part "
        "is not judged.",
    )
    def constraints_matter(self, table: Evidence) -> Iterable[Effect]:
        free, bound = (table.only(variant=kind) for kind in KINDS)
        share = 100 * free.of("implausible", DENSE) - 50
        lacks = free.lacking(["ticket"], "implausible", [0])
        yield table.effect("share of implausible among successful attacks, above 50 %", "pp", share, lacks=lacks)
        clean, left, back = free.of("clean_acc", DENSE), free.of("left_acc", DENSE), bound.of("left_acc", DENSE)
        drop = (clean - left).where(clean > left)
        yield table.effect("share of the drop that comes back, above 50 %", "pp", 100 * (back - left) / drop - 50, lacks=lacks)

    @claim(
        "ATT-C8",
        "I5",
        "The fewer columns a pruned network still reads, the fewer attacks on it succeed.",
        note="For each replicate, the rank correlation over the rounds of its chain between the number of columns that are read and "
        f"the share of right rows that attacks of any kind make wrong. It has to be above {ALIKE:g}.",
    )
    def fewer_columns_are_safer(self, table: Evidence) -> Iterable[Effect]:
        free = table.only(variant="free")
        live, clean, left = (free.of(column, "ticket") for column in ("live_inputs", "clean_acc", "left_acc"))
        success = 1 - left / clean
        found = [rank_correlation(live.loc[one], success.loc[one]) for one in live.index]
        name = "columns read with attacks that succeed, over rounds"
        yield table.effect(name, "rho", found, least=ALIKE, lacks=free.lacking(["ticket"], "left_acc", list(live.columns)))
