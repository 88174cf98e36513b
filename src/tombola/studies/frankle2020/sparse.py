"""Sparse networks: stable, or matching, or both? (section 5, figures 5 and 6)"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tombola.studies import Effect, Evidence, Figure, Level, Row, TombolaError, aside, claim, study
from tombola.studies.frankle2020.common import network
from tombola.studies.frankle2020.grid import CONTROLS, LATEST, PLACES, Grid

CAPACITY = 10.0
"""Percentage points that a control may fall short of the dense network: one that falls further cannot hold what is to be learnt, and
being unstable or not says nothing of its luck with the noise."""
ENOUGH = 0.1
"""Share of the tickets that have to be unstable, and of the stable ones that have to match, for the one to be held against the other."""
WHERE = "At the lowest density at which tickets match at some k, as in the paper: chosen by the same data, unless `judged` sets it."


@study(
    "frankle2020.sparse",
    task="digits-noise-mlp",
    answers="Are sparse networks that match the dense one those that are stable to SGD noise?",
)
class SparseStability(Grid):
    """Instability and accuracy of IMP with rewinding to k, random pruning and fresh initialisations, over k and density."""

    judged: Level | None = None
    """The round at which C7, C8 and C9 are judged, one of `compared`. None: the last at which tickets match at some k."""

    def rows(self) -> Iterable[Row]:
        """The rows of the grid; the dense network stands beside each density."""
        if self.judged is not None and self.judged not in self.compared:
            raise TombolaError(f"judged = {self.judged}, but compared = {list(self.compared)}; choose one of these")
        for place, rows in self.places.items():
            for level in self.compared if place.arm == "dense" else (place.round,):
                yield from (replace(row, variant=str(level)) for row in rows)

    def figures(self) -> Sequence[Figure]:
        return (self.against_k("sparse", "Instability and accuracy of sparse networks against the step k", self.barrier, self.gap),)

    # -- claims --------------------------------------------------------------------------------------------------------

    def judged_density(self, table: Evidence) -> tuple[Evidence, str]:
        """The rows of the density that is judged, and why it is not, if tickets match at none."""
        if self.judged is not None:
            return table.only(variant=str(self.judged)), ""
        best = _best(table, "ticket")
        if matching := [level for level, gap in best.items() if 100 * gap >= -self.tolerance]:
            return table.only(variant=str(max(matching))), ""
        where = table.only(variant=str(min(best, default=0)))
        return where, "tickets match at none of the densities; compare higher ones: --set 'compared=[1, 2, 3]'"

    @claim(
        "LMC-C7",
        "section 5, figure 5",
        "Rewound to k = 0, tickets match where they are stable; where they are not, they are no better than random pruning or a fresh "
        "initialisation.",
        note=f"{WHERE} One network shows one half of the sentence.",
    )
    def at_k_0(self, table: Evidence) -> Iterable[Effect]:
        rows, lacks = self.judged_density(table)
        lacks = lacks or ("" if rows.table.step.min() == 0 else "k = 0 was not run")
        at_0 = rows.only(arm="ticket", level=0).table.instability.mean()
        stable, unstable = at_0 < self.stable, at_0 >= self.stable
        yield self.matches(rows, "ticket", [0], lacks=lacks or ("" if stable else "tickets are not stable at k = 0"), note="where stable")
        for arm in CONTROLS:
            ticket, control = rows.pair("ticket", arm, self.gap, [0])
            missing = lacks or ("" if unstable else "tickets are not unstable at k = 0") or rows.lacking(("ticket", arm), "gap", [0])
            name = f"ticket less than {self.tolerance:g} pp more accurate than {rows.called(arm)}{rows.said(ticket.columns)}"
            yield rows.effect(name, "pp", self.tolerance - (ticket - control), lacks=missing, note="where unstable")

    @claim(
        "LMC-C8",
        "section 5, figure 5",
        "With k > 0 tickets become stable, and matching at about the same k, earlier than the dense network becomes stable.",
        note=f"{WHERE} A place is the way from one k of the list to the next; where the line is crossed between two k, a part of it. "
        "Replicates that never get there are left out of what compares places.",
    )
    def become_stable_and_matching(self, table: Evidence) -> Iterable[Effect]:
        rows, lacks = self.judged_density(table)
        lacks = lacks or self.never_unstable(rows, "ticket") or self.never_unstable(rows, "dense")
        last = self.early(rows)[-1:]
        yield self.is_stable(rows, "ticket", last, lacks=lacks)
        yield self.matches(rows, "ticket", last, lacks=lacks)
        ticket, dense = (self.onsets(rows, arm) for arm in ("ticket", "dense"))
        earlier, name = dense.stable - ticket.stable, "tickets stable at an earlier k than the dense network"
        yield rows.effect(name, PLACES, earlier, lacks=lacks, note="any difference counts")
        apart = 1.5 - (ticket.stable - ticket.matching).abs()
        yield rows.effect("k of stability and k of matching less than 1.5 places apart", PLACES, apart, lacks=lacks)

    @claim(
        "LMC-C9",
        "section 5, figure 5",
        "Randomly pruned and re-initialised networks are unstable at every k.",
        about=lambda study: "the paper excepts LeNet" if network(study.task) == "LeNet" else "",
        note=f"{WHERE} For k up to {100 * LATEST:g} % of training only: children of any network are stable when little is left.",
    )
    def controls_stay_unstable(self, table: Evidence) -> Iterable[Effect]:
        rows, lacks = self.judged_density(table)
        early = self.early(rows)
        for arm in CONTROLS:
            name = f"{rows.called(arm)} unstable: its least instability over k above {100 * self.stable:g} pp"
            least = rows.of(self.barrier, arm, early).min(axis=1) - 100 * self.stable
            yield rows.effect(name, "pp", least, lacks=lacks or rows.lacking((arm,), self.barrier, early) or self._no_capacity(rows, arm))

    def _no_capacity(self, rows: Evidence, arm: str) -> str:
        short = -rows.of(self.gap, arm, self.early(rows)).mean().max()
        said = f"{rows.called(arm)} falls {short:.0f} pp short of the dense network, so it lacks capacity: take a wider network"
        return said if short > CAPACITY else ""

    @claim(
        "LMC-C10",
        "section 5, figure 6",
        "Sparse networks match the dense one only where they are stable.",
        note="Tickets of all k, at the densities where random pruning matches at no k: elsewhere any network does. Nine in ten: ours.",
    )
    def match_only_where_stable(self, table: Evidence) -> Iterable[Effect]:
        hard = [str(level) for level, gap in _best(table, "random").items() if 100 * gap < -self.tolerance]
        for arm in ("ticket", "reinit"):
            rows = table.table[(table.table.arm == arm) & table.table.variant.isin(hard)]
            mean = 100 * rows.groupby(["replicate", "variant", "level"])[["instability", "gap"]].mean().dropna()
            unstable, matching = mean.instability >= 100 * self.stable, mean.gap >= -self.tolerance
            lacks = f"{unstable.sum()} of {len(mean)} tickets are unstable, where random pruning does not match: too few of one kind"
            if len(mean) and ENOUGH <= unstable.mean() <= 1 - ENOUGH:
                lacks = "" if matching[~unstable].mean() >= ENOUGH else "stable tickets do not match either"
            best = mean.gap[unstable].groupby(level="replicate").quantile(0.9, interpolation="higher")
            name = f"{table.called(arm)}: nine in ten of the unstable ones below dense - {self.tolerance:g} pp"
            found = table.effect(name, "pp", list(-self.tolerance - best), lacks=lacks)
            yield found if arm == "ticket" else aside(found)


def _best(table: Evidence, arm: str) -> dict[int, float]:
    """Round -> the highest gap of an arm over k, by the mean over replicates."""
    rows = table.table[table.table.arm == arm]
    mean = rows.groupby(["variant", "level"]).gap.mean().groupby(level="variant").max()
    return {int(level): float(gap) for level, gap in mean.items()}
