"""How the ticket's connections are spread over units and inputs (appendix)."""

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.evaluation import connectivity as of
from tombola.evaluation.paired import by_replicate, effect_over_levels, levels_within
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Run
from tombola.pruning.controls import shuffle
from tombola.studies.base import Cell, Figure, Panel, Result, Row, Scale, Study, study
from tombola.studies.frankle2019.common import SOURCE, Pruned
from tombola.studies.tickets import spread_levels, tickets

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("unevenness", "unconnected")
ARMS = {
    "incoming": "incoming, ticket",
    "outgoing": "outgoing, ticket",
    "incoming_random": "incoming, random mask",
    "outgoing_random": "outgoing, random mask",
}


FLOOR = "few connections are uneven by chance, the more so the fewer there are"
SHAPE = "random masks differ in this too, by the shape of the layer alone"


class Connectivity(Pruned):
    """Masks of winning tickets, read as graphs."""

    chosen = {"structure": "connectivity compares with random masks of single weights; leave structure=weights"}


def _configure(scale: Scale, task: str) -> Connectivity:
    by_scale: dict[str, dict[str, Any]] = {"smoke": {"replicates": 2, "levels": 2}, "small": {}, "paper": {"levels": 20}}
    return Connectivity(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.connectivity",
    answers="Which units and inputs stay connected?",
    claims=("LTH-C12",),
    task="mnist1d-mlp",
    configure=_configure,
)
def connectivity(config: Connectivity) -> Study:
    """Connections per unit in the masks of tickets, against random masks of equal counts; which inputs stay connected."""
    chains = [tickets(config, replicate) for replicate in range(config.replicates)]
    shown = spread_levels(config.levels, 4)
    return Study(
        name="frankle2019.connectivity",
        config=config,
        cells=tuple(Cell("ticket", replicate, level, run) for replicate, chain in enumerate(chains) for level, run in enumerate(chain)),
        metrics=METRICS,
        measure=measure,
        claims=claims,
        arms=ARMS,
        details=partial(details, chains, shown),
        figures=(
            Figure(
                "unevenness",
                "How unevenly connections are spread",
                (Panel("unevenness", "standard deviation / mean of connections per unit"),),
                caption="Incoming: connections of each unit that the layer computes; outgoing: of each unit (or input) that it reads.",
            ),
            Figure(
                "profile",
                "Connections per unit, most connected first",
                (Panel("value", "kept share of a unit's connections (%)", 100),),
                kind="profile",
                detail="connections",
                x_label="units of the layer, by rank (%)",
                arms=("incoming", "outgoing"),
                levels=shown[1:],
            ),
            Figure(
                "inputs",
                "Inputs that stay connected",
                (Panel("value", "connections / mean input"),),
                kind="image",
                detail="inputs",
                levels=shown[1:],
                caption="Mean over replicates; 1 is an average input. Inputs that are no square image stand in one row.",
            ),
        ),
    )


def measure(cell: Cell, results: Mapping[Run, Result]) -> list[Row]:
    """A row for each prunable leaf (as variant) and direction (as arm), for the ticket's mask and a random one; none
    for the dense network, where all units have all connections.
    """
    if cell.level == 0:
        return []
    mask = results[cell.run].weights("mask")
    rows: list[Row] = []
    for suffix, leaves in (("", mask), ("_random", shuffle(dict(mask), cell.run.seed, f"connectivity/{cell.level}"))):
        for path, leaf in leaves.items():
            if leaf.all():
                continue  # a layer that is never pruned
            for arm, connections in (("incoming", of.incoming(leaf)), ("outgoing", of.outgoing(leaf))):
                values = {"unevenness": of.unevenness(connections), "unconnected": of.unconnected(connections)}
                rows.append({"variant": path.removesuffix("/kernel"), "arm": arm + suffix, **values})
    return rows


def details(chains: list[list[Run]], levels: tuple[int, ...], results: Mapping[Run, Result]) -> "dict[str, pd.DataFrame]":
    """Sorted shares of connections by layer, direction, level and replicate; the same of each input, averaged."""
    import pandas as pd

    profile: list[dict[str, Any]] = []
    inputs: list[pd.DataFrame] = []
    for level in levels:
        shares = []
        for replicate, chain in enumerate(chains):
            mask, density = results[chain[level]].weights("mask"), results[chain[level]].summary["density"]
            connections = of.outgoing(next(iter(mask.values())))
            shares.append(connections / max(connections.mean(), 1e-9))
            for path, leaf in mask.items():
                for arm, connections in (("incoming", of.incoming(leaf)), ("outgoing", of.outgoing(leaf))):
                    where = {"variant": path.removesuffix("/kernel"), "arm": arm, "level": level, "density": density}
                    profile += [{**where, "replicate": replicate, "x": x, "value": y} for x, y in _ranked(_share(connections, leaf))]
        inputs.append(_image(np.mean(shares, 0), level, density))
    return {"connections": pd.DataFrame(profile), "inputs": pd.concat(inputs, ignore_index=True)}


def _share(connections: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    return connections * connections.size / leaf.size


def _ranked(shares: np.ndarray, most: int = 101) -> list[tuple[float, float]]:
    """(rank in per cent, share), the largest first, at no more than `most` ranks."""
    ordered = np.sort(shares)[::-1]
    places = np.unique(np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(int))
    return [(100 * (place + 0.5) / len(ordered), float(ordered[place])) for place in places]


def _image(values: np.ndarray, level: int, density: float) -> "pd.DataFrame":
    import pandas as pd

    side = math.isqrt(values.size)
    width = side if side * side == values.size else values.size
    index = np.arange(values.size)
    where = {"arm": "ticket", "level": level, "density": density}
    return pd.DataFrame({**where, "row": index // width, "column": index % width, "value": values})


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C12 on the table of the study."""
    effects = []
    layers = list(table.variant.unique())
    for layer in layers:
        rows = table[table.variant == layer]
        levels = levels_within(rows, 0, 0.22)
        cv = {arm: by_replicate(rows, "unevenness", arm)[levels] for arm in ARMS}
        beyond, chance = (np.log2(cv[arm] / cv[f"{arm}_random"]) for arm in ("outgoing", "incoming"))
        decides = layer != layers[-1]

        def effect(name: str, values: "pd.DataFrame", judged: bool, note: str = "", layer: str = layer, rows: Any = rows) -> Effect:
            return effect_over_levels(f"{layer}: {name}", "log2 ratio", values, rows, decides=judged, note=note)

        effects += [
            effect("outgoing more uneven than incoming, each against a random mask", beyond - chance, decides, FLOOR),
            effect("incoming less than 1.41 times as uneven as under a random mask", 0.5 - chance, decides),
            effect("outgoing more uneven than under a random mask", beyond, False),
            effect("outgoing more uneven than incoming, as counted", np.log2(cv["outgoing"] / cv["incoming"]), False, SHAPE),
        ]
    sentence = "Units of a ticket keep nearly equally many incoming connections, but very unequally many outgoing ones."
    note = "Unevenness: standard deviation / mean over units, at 22 % density or less. Judged in the hidden layers."
    return [Verdict("LTH-C12", sentence, f"{SOURCE}, appendix", tuple(effects), note)]
