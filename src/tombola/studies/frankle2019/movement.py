"""How far the weights that end in the ticket move, and whether away from 0 (appendix)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tombola.core.keys import generator
from tombola.evaluation.movement import exchanged, largest
from tombola.evaluation.movement import movement as moved
from tombola.evaluation.paired import difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Run
from tombola.studies.base import Cell, Figure, Panel, Result, Row, Scale, Study, study
from tombola.studies.frankle2019.common import SOURCE, Pruned
from tombola.studies.tickets import tickets

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("layer_density", "distance", "away")
ARMS = {
    "kept": "kept by the ticket",
    "pruned": "pruned",
    "kept_other": "kept, chosen by another run",
    "pruned_other": "pruned, chosen by another run",
    "kept_chance": "kept, movement exchanged at random",
    "pruned_chance": "pruned, movement exchanged at random",
}


class MovementConfig(Pruned):
    """The dense run's weights, grouped by whether the tickets keep them."""

    chosen = dict.fromkeys(
        ("structure", "criterion", "prune_at"),
        "its controls choose single weights by |w_f| at the end; leave structure, criterion, prune_at",
    )


def _configure(scale: Scale, task: str) -> MovementConfig:
    by_scale: dict[str, dict[str, Any]] = {"smoke": {"replicates": 2, "levels": 2}, "small": {}, "paper": {"levels": 20}}
    return MovementConfig(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.movement",
    answers="Do the weights that end in the ticket move more in the dense network, and away from 0?",
    claims=("LTH-C11",),
    task="mnist1d-mlp",
    configure=_configure,
)
def movement(config: MovementConfig) -> Study:
    """Movement in the dense run of kept against pruned weights, layer by layer, with two controls.

    The claim is partly circular: a weight is kept because it ends large, so it is likely to have moved away from 0.
    *Another run*: the groups are chosen by the final magnitudes of a second dense run with the same initial weights and
    another data order, and looked at in the first: what remains is not selection on this run's own movement.
    *Exchanged*: the first run's movements are dealt out at random within the layer and the groups chosen anew: what
    selection alone makes of movement that has nothing to do with the weight. Both controls choose once, where the ticket's
    own mask was chosen round by round.
    """
    cells = []
    keep: dict[Run, tuple[str, ...]] = {}
    for replicate in range(config.replicates):
        chain = tickets(config, replicate)
        other = _other(chain[0])
        keep |= {chain[0]: ("0it", "end"), other: ("end",)}
        cells.append(Cell("other", replicate, 0, other))
        cells += [Cell("ticket", replicate, level, run) for level, run in enumerate(chain)]
    return Study(
        name="frankle2019.movement",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        keep=keep,
        measure=measure,
        claims=claims,
        arms=ARMS,
        figures=(
            Figure(
                "distance",
                "How far weights move in the dense network",
                (Panel("distance", "mean |w_f - w_i| (standard deviations of w_i)"),),
                caption="By whether the ticket of that density keeps them.",
            ),
            Figure(
                "away",
                "Share of weights that move away from 0 in the dense network",
                (Panel("away", "share with |w_f| > |w_i| (%)", 100),),
                caption="By whether the ticket of that density keeps them.",
            ),
        ),
    )


def _other(dense: Run) -> Run:
    """The same initial weights, trained with another order of the data."""
    return dense.but(noise={"data_order": "other"})


def measure(cell: Cell, results: Mapping[Run, Result]) -> list[Row]:
    """A row for each prunable leaf (as variant) and group of its weights (as arm); none for the dense networks."""
    if cell.level == 0:
        return []
    dense = Run(task=cell.run.task, seed=cell.run.seed)
    initial, final, other = results[dense].weights("0it"), results[dense].weights("end"), results[_other(dense)].weights("end")
    rows: list[Row] = []
    for path, mask in results[cell.run].weights("mask").items():
        count = int(mask.sum())
        if count == mask.size:
            continue  # a layer that is never pruned
        by_chance = exchanged(initial[path], final[path], generator(cell.run.seed, f"exchanged/{path}"))
        chosen = largest(by_chance, count)
        groups = {
            "kept": (final[path], mask),
            "pruned": (final[path], ~mask),
            "kept_other": (final[path], largest(other[path], count)),
            "pruned_other": (final[path], ~largest(other[path], count)),
            "kept_chance": (by_chance, chosen),
            "pruned_chance": (by_chance, ~chosen),
        }
        for arm, (ends, group) in groups.items():
            found = moved(initial[path], ends, group)
            rows.append(
                {
                    "variant": path.removesuffix("/kernel"),
                    "arm": arm,
                    "layer_density": count / mask.size,
                    "distance": found.distance,
                    "away": found.away,
                }
            )
    return rows


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C11 on the table of the study."""
    effects = []
    for metric, what, unit, scale in (
        ("distance", "move farther", "standard deviations", 1),
        ("away", "move away from 0 more often", "pp", 100),
    ):
        for layer in table.variant.unique():
            rows = table[table.variant == layer]
            levels = levels_within(rows, 0, 0.55)
            pairs = (("kept", "pruned", True, ""), ("kept_other", "pruned_other", False, "chosen by another run: not circular"))
            for kept, pruned, decides, note in pairs:
                values = scale * difference(rows, metric, kept, pruned, levels)
                name = f"{layer}: kept weights {what}{', chosen by another run' if note else ''}"
                effects.append(effect_over_levels(name, unit, values, rows, decides=decides, note=note))
            gap, chance = (scale * difference(rows, metric, f"kept{of}", f"pruned{of}", levels) for of in ("", "_chance"))
            name = f"{layer}: the same beyond what selection alone makes"
            effects.append(
                effect_over_levels(name, unit, gap - chance, rows, decides=False, note="movement exchanged at random, groups chosen anew")
            )
    sentence = "Weights that end in the ticket move more in the dense network than those that are pruned, and more often away from 0."
    note = "Partly circular: weights are kept because they end large. The controls beside it are not."
    return [Verdict("LTH-C11", sentence, f"{SOURCE}, appendix", tuple(effects), note)]
