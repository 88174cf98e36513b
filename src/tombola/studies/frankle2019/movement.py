"""How far the weights that end in the ticket move, and whether away from 0 (appendix)."""

from collections.abc import Iterable, Mapping, Sequence

from tombola.core.keys import generator
from tombola.evaluation.movement import exchanged, largest
from tombola.evaluation.movement import movement as moved
from tombola.studies import Effect, Evidence, Figure, Panel, Results, Row, Run, Values, aside, chain_rows, claim, study, tickets
from tombola.studies.frankle2019.common import Pruned

DISTANCE = Panel("distance", "mean |w_f - w_i| (standard deviations of w_i)", log=True)
AWAY = Panel("away", "share with |w_f| > |w_i| (%)", 100)


@study(
    "frankle2019.movement",
    task="mnist1d-mlp",
    answers="Do the weights that end in the ticket move more in the dense network, and away from 0?",
)
class Movement(Pruned):
    """Movement in the dense run of kept against pruned weights, layer by layer, with two controls.

    The claim is partly circular: a weight is kept because it ends large, so it is likely to have moved away from 0.
    *Another run*: the groups are chosen by the final magnitudes of a second dense run with the same initial weights and
    another data order, and looked at in the first: what remains is not selection on this run's own noise, but still selection on
    the initial weights that both share. *Exchanged*: the first run's movements are dealt out at random within the layer and the
    groups chosen anew: what selection alone makes of movement that has nothing to do with the weight. Both controls choose once,
    where the ticket's own mask was chosen round by round.
    """

    chosen = dict.fromkeys(
        ("structure", "criterion", "prune_at"),
        "its controls choose single weights by |w_f| at the end; leave structure, criterion, prune_at",
    )
    columns = ("layer_density", "distance", "away", "dense_acc")
    arms = {
        "kept": "kept by the ticket",
        "pruned": "pruned",
        "kept_other": "kept, chosen by another run from the same weights",
        "pruned_other": "pruned, chosen by another run from the same weights",
        "kept_chance": "kept, movement exchanged at random",
        "pruned_chance": "pruned, movement exchanged at random",
    }

    def rows(self) -> Iterable[Row]:
        """The second dense run, and the tickets."""
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)
            yield Row("other", replicate, 0, _other(chain[0]))
            yield from chain_rows("ticket", replicate, chain)

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        return {row.run: ("end",) if row.arm == "other" else ("0it", "end") for row in rows if row.level == 0}

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each prunable leaf (as variant) and group of its weights (as arm); none for the dense networks."""
        if row.level == 0:
            return []
        dense = Run(task=row.run.task, seed=row.run.seed)
        dense_acc = results[dense].shown("test")
        initial, final, other = results[dense].weights("0it"), results[dense].weights("end"), results[_other(dense)].weights("end")
        found: list[Values] = []
        for path, mask in results[row.run].weights("mask").items():
            count = int(mask.sum())
            if count == mask.size:
                continue  # a layer that is never pruned
            by_chance = exchanged(initial[path], final[path], generator(row.run.seed, f"exchanged/{path}"))
            groups = {
                "": (final[path], mask),
                "_other": (final[path], largest(other[path], count)),
                "_chance": (by_chance, largest(by_chance, count)),
            }
            for control, (ends, kept) in groups.items():
                for arm, group in (("kept", kept), ("pruned", ~kept)):
                    values = {"dense_acc": dense_acc, "layer_density": count / mask.size, **moved(initial[path], ends, group)._asdict()}
                    found.append({"variant": path.removesuffix("/kernel"), "arm": arm + control, **values})
        return found

    def figures(self) -> Sequence[Figure]:
        caption = "Weights are grouped by whether the ticket of that density keeps them."
        return [
            Figure("distance", "How far weights move in the dense network", (DISTANCE,), caption=caption),
            Figure("away", "Share of weights that move away from 0 in the dense network", (AWAY,), caption=caption),
        ]

    @claim(
        "LTH-C11",
        "appendix",
        "In every layer, weights that end in the ticket move farther in the dense network than those that are pruned, and more often away "
        "from 0.",
        note="It is partly circular: a weight is kept because it ends large. That training moves the ticket's weights in particular would "
        "take a larger difference than selection alone makes. At 55 % density or less; any difference counts.",
    )
    def kept_weights_move(self, table: Evidence) -> Iterable[Effect]:
        for metric, what in ((DISTANCE, "move farther than pruned ones"), (AWAY, "move away from 0 more often than pruned ones")):
            for layer in table.table.variant.unique():
                rows = table.only(variant=layer)
                at = rows.levels(0, 0.55)
                found = rows.above("kept", "pruned", metric, at, least=0.0, name=f"kept weights {what}")
                yield found
                name = f"weights that another run from the same initial weights would keep {what}"
                shared = "not selected on this run's noise, but on the initial weights that both runs share"
                yield aside(rows.above("kept_other", "pruned_other", metric, at, least=0.0, name=name), shared)
                gap, chance = (one - two for one, two in (rows.pair(f"kept{of}", f"pruned{of}", metric, at) for of in ("", "_chance")))
                beyond = rows.effect(f"kept weights {what}, beyond what selection alone makes", found.unit, gap - chance)
                yield aside(beyond, "selection alone makes a larger difference" if beyond.high < 0 else "")


def _other(dense: Run) -> Run:
    """The same initial weights, trained with another order of the data."""
    return dense.but(noise={"data_order": "other"})
