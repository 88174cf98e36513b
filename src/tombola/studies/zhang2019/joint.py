"""Several layers at once: pairs, the first n, the last n, random sets, the largest robust set that is found greedily (section 3)."""

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.keys import generator
from tombola.core.step import Step
from tombola.evaluation.paired import effect_of
from tombola.evaluation.verdict import Verdict
from tombola.models.groups import Unit
from tombola.models.tasks import task as named_task
from tombola.procedures.measurement import Measurement
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.zhang2019.common import (
    SOURCE,
    Robust,
    at_smoke,
    dense_run,
    error_panel,
    for_noise,
    limit_in,
    reset,
    robust_units,
    units_of,
)

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("kept", "prunable", "draw", "layers", "error", "rise", "sum_of_rises", "most_of_rises", "validation_rise", "own_error", "chance")
ARMS = {
    "single": "one layer",
    "pair": "pairs",
    "first": "the first n",
    "last": "the last n",
    "random": "n at random",
    "greedy": "n that matter least, added one by one",
    "robust": "all that are robust by themselves",
}
MOST_PAIRS = 300
"""Networks with more pairs than this have their pairs left out."""


class Joint(Robust):
    """Sets of layers put back to one step at once."""

    reset_to: Step = Step("0it")
    """The step."""
    unit: Unit = "layer"
    subsets: Annotated[int, Field(ge=0)] = 10
    """Random sets of each size."""


def _configure(scale: Scale, task: str) -> Joint:
    found = named_task(task, scale)
    return Joint(task=found, **for_noise(found), **at_smoke(scale, subsets=2))


@study(
    "zhang2019.joint",
    answers="Are layers that are robust one by one robust together?",
    claims=("LAY-C7",),
    task="fcn-digits",
    configure=_configure,
)
def joint(config: Joint) -> Study:
    """Error against the number of layers that are put back."""
    return Study(
        name="zhang2019.joint",
        config=config,
        cells=tuple(_single(config, replicate) for replicate in range(config.replicates)),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms=ARMS,
        levels="layers",
        more=partial(more, config),
        details=partial(details, config),
        figures=(
            Figure(
                "joint",
                "Error against the number of layers that are put back at once",
                (error_panel(config),),
                x="level",
                arms=("first", "last", "random", "greedy"),
                caption=f"{config.said()} Layers are added greedily by the error on the validation set.",
            ),
            Figure(
                "pairs",
                "Two layers put back at once",
                (Panel("error", f"{config.judged()} (%)", 100), Panel("beyond", "beyond the two rises added (pp)", 100)),
                kind="heatmap",
                detail="pairs",
                x_label="with",
                caption=f"On the diagonal one layer. {config.said()}",
            ),
        ),
    )


def _singles(config: Joint, replicate: int) -> Measurement:
    return reset(config, dense_run(config, replicate), (config.reset_to,), unit=config.unit)


def _single(config: Joint, replicate: int) -> Cell:
    return Cell("single", replicate, 1, dense_run(config, replicate), measurement=_singles(config, replicate))


def _of_sets(config: Joint, replicate: int, sets: Sequence[Sequence[str]]) -> Measurement:
    return reset(config, dense_run(config, replicate), (config.reset_to,), unit=config.unit, sets=[list(one) for one in sets])


def more(config: Joint, results: Results) -> tuple[Cell, ...]:
    """Sets of layers, once their names are known; the sets of those that are robust; the greedy sets, one size a time."""
    names = units_of(results, config.task, config.unit)
    robust = robust_units(config, results, [_single(config, replicate) for replicate in range(config.replicates)], config.unit)
    cells = []
    for replicate in range(config.replicates):
        for arm, sets in _named(config, names, replicate).items():
            cells.append(Cell(arm, replicate, 0, dense_run(config, replicate), measurement=_of_sets(config, replicate, sets)))
        if len(robust) > 1:
            cells.append(
                Cell("robust", replicate, len(robust), dense_run(config, replicate), measurement=_of_sets(config, replicate, [robust]))
            )
        cells += _greedy(config, results, names, replicate)
    return tuple(cells)


def _named(config: Joint, names: list[str], replicate: int) -> dict[str, list[list[str]]]:
    """Arm -> sets that need no result."""
    draw = generator(dense_run(config, replicate).seed, "joint/random")
    sizes = range(2, len(names))
    drawn = [list(draw.choice(len(names), size, replace=False)) for size in sizes for _ in range(config.subsets)]
    found: dict[str, list[list[str]]] = {
        "first": [names[:size] for size in range(1, len(names) + 1)],
        "last": [names[-size:] for size in range(1, len(names) + 1)],
        "random": [[names[index] for index in sorted(one)] for one in drawn],
        "pair": [list(pair) for pair in combinations(names, 2)] if len(names) * (len(names) - 1) / 2 <= MOST_PAIRS else [],
    }
    return {arm: sets for arm, sets in found.items() if sets}


def _greedy(config: Joint, results: Results, names: list[str], replicate: int) -> list[Cell]:
    """The greedy sets so far, and the candidates for the next."""
    cells: list[Cell] = []
    chosen: list[str] = []
    for size in range(1, len(names) + 1):
        candidates = [[*chosen, name] for name in names if name not in chosen]
        measurement = _of_sets(config, replicate, candidates)
        cells.append(Cell("greedy", replicate, size, dense_run(config, replicate), measurement=measurement))
        if measurement not in results.known:
            break
        chosen = candidates[int(np.argmin(results.measured(measurement)["validation_error"][:, 0]))]
    return cells


def measure(config: Joint, cell: Cell, results: Results) -> list[Row]:
    """A row for each set; of the greedy candidates the one that is chosen."""
    assert cell.measurement is not None
    names, alone = units_of(results, config.task, config.unit), results.measured(_singles(config, cell.replicate))
    found = results.measured(cell.measurement)
    own = float(found["own_error"])
    single = dict(zip(names, alone["error"][:, 0] - own, strict=True))
    sets: list[list[str]] = cell.measurement.options.get("sets") or [[name] for name in names]
    shown = [int(np.argmin(found["validation_error"][:, 0]))] if cell.arm == "greedy" else range(len(sets))
    summary, seen, rows = results[cell.run].summary, dict[int, int](), list[Row]()
    for index in shown:
        size = len(sets[index])
        seen[size] = seen.get(size, -1) + 1
        rises = [float(single[name]) for name in sets[index]]
        error = float(found["error"][index, 0])
        rows.append(
            {
                "level": size,
                "kept": summary["kept"],
                "prunable": summary["prunable"],
                "draw": seen[size],
                "layers": " ".join(sets[index]),
                "error": error,
                "rise": error - own,
                "sum_of_rises": sum(rises),
                "most_of_rises": max(rises),
                "validation_rise": float(found["validation_error"][index, 0] - found["own_validation_error"]),
                "own_error": own,
                "chance": float(found["chance"]),
            }
        )
    return rows


def details(config: Joint, results: Results) -> "dict[str, pd.DataFrame]":
    """Errors of pairs, both ways round, and of single layers on the diagonal."""
    import pandas as pd

    names = units_of(results, config.task, config.unit)
    rows: list[dict[str, Any]] = []
    for replicate in range(config.replicates):
        of = {"single": _singles(config, replicate)}
        if sets := _named(config, names, replicate).get("pair"):
            of["pair"] = _of_sets(config, replicate, sets)
        for arm, measurement in of.items():
            for one in measure(config, Cell(arm, replicate, 0, dense_run(config, replicate), measurement=measurement), results):
                pair = one["layers"].split(" ")
                beyond = one["rise"] - one["sum_of_rises"] if arm == "pair" else np.nan
                for row, column in {(pair[0], pair[-1]), (pair[-1], pair[0])}:
                    rows.append({"replicate": replicate, "row": row, "column": column, "error": one["error"], "beyond": beyond})
    order = {name: index for index, name in enumerate(names)}
    table = pd.DataFrame(rows)
    table = table.assign(first=table.row.map(order), second=table.column.map(order)).sort_values(["replicate", "first", "second"])
    return {"pairs": table.drop(columns=["first", "second"]).assign(variant="", arm="", level=1, density=1.0)}


def claims(config: Joint, table: "pd.DataFrame") -> list[Verdict]:
    """LAY-C7 on the table of the study."""
    rows = table[table.arm == "robust"].set_index("replicate")
    allowed = limit_in(config, table)
    note = "" if len(rows) else "fewer than two layers are robust by themselves"
    together = list(100 * (rows.rise - allowed))
    beyond = list(100 * (rows.rise - rows.sum_of_rises))
    effects = (
        effect_of("rise with all robust layers put back, above what a robust layer may rise, by", "pp", together, note=note),
        effect_of("the same, above the sum of their rises, by", "pp", beyond, note=note, decides=False),
    )
    return [Verdict("LAY-C7", "Layers that are robust one by one are not robust together.", f"{SOURCE}, section 3.2", effects)]
