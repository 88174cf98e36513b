"""How the ticket's connections are spread over units and inputs (appendix)."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tombola.evaluation import connectivity as of
from tombola.pruning.controls import shuffle
from tombola.studies import Details, Effect, Evidence, Figure, Frame, Panel, Results, Row, Values, aside, claim, dense_run, picture, study
from tombola.studies.frankle2019.common import Pruned
from tombola.studies.tickets import chain_rows, spread_levels, tickets

EVEN = 0.5
"""log2 of the unevenness over that under a random mask: below, connections are nearly as even as chance leaves them (1.41 times); above,
they are uneven."""


@study("frankle2019.connectivity", task="mnist1d-mlp", answers="Which units and inputs stay connected?")
class Connectivity(Pruned):
    """Connections per unit in the masks of tickets, against random masks of equal counts; which inputs stay connected."""

    chosen = {"structure": "connectivity compares with random masks of single weights; leave structure=weights"}
    columns = ("unevenness", "unconnected", "dense_acc")
    arms = {
        "incoming": "incoming, ticket",
        "outgoing": "outgoing, ticket",
        "incoming_random": "incoming, random mask",
        "outgoing_random": "outgoing, random mask",
    }

    def rows(self) -> Iterable[Row]:
        """The rows of all tickets."""
        for replicate in range(self.replicates):
            yield from chain_rows("ticket", replicate, tickets(self, replicate))

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each prunable leaf (as variant) and direction (as arm), for the ticket's mask and a random one; none
        for the dense network, where all units have all connections.
        """
        if row.level == 0:
            return []
        mask, dense_acc = results[row.run].weights("mask"), results[dense_run(self, row.replicate)].shown("test")
        random = shuffle(dict(mask), row.run.seed, f"connectivity/{row.level}")
        return [
            {
                **{"variant": layer, "arm": arm + suffix, "dense_acc": dense_acc},
                **{"unevenness": of.unevenness(counts), "unconnected": of.unconnected(counts)},
            }
            for suffix, leaves in (("", mask), ("_random", random))
            for layer, arm, counts, leaf in _connections(leaves)
            if not leaf.all()  # a layer that is never pruned
        ]

    def details(self, results: Results) -> Details:
        """Sorted shares of connections by layer, direction, level and replicate; the same of each input, averaged."""
        profile, images = list[Values](), list[Frame]()
        chains = [tickets(self, replicate) for replicate in range(self.replicates)]
        for level in self._shown():
            inputs = []
            for replicate, chain in enumerate(chains):
                mask, density = results[chain[level]].weights("mask"), results[chain[level]].summary["density"]
                counts = of.outgoing(next(iter(mask.values())))
                inputs.append(counts / max(counts.mean(), 1e-9))
                for layer, arm, counts, leaf in _connections(mask):
                    where = {"variant": layer, "arm": arm, "level": level, "density": density, "replicate": replicate}
                    profile += [{**where, "x": x, "value": y} for x, y in _ranked(counts * counts.size / leaf.size)]
            mean = np.mean(inputs, 0)
            side = math.isqrt(mean.size)
            square = mean.reshape(side if side * side == mean.size else 1, -1)
            images.append(picture(square, arm="ticket", level=level, density=density))
        return {"connections": profile, "inputs": images}

    def _shown(self) -> tuple[int, ...]:
        return spread_levels(self.levels, 4)

    def figures(self) -> Sequence[Figure]:
        shown, directions = self._shown()[1:], ("incoming", "outgoing")
        uneven = Panel("unevenness", "standard deviation / mean of connections per unit")
        shares = Panel("value", "kept share of a unit's connections (%)", 100)
        rank = "units of the layer, by rank (%)"
        of_inputs = Panel("value", "connections / mean input")
        units = "Incoming connections are those of a unit that the layer computes, outgoing ones those of a unit (or input) that it reads."
        order = "Units are in the order of how many of their connections the ticket keeps."
        average = "An average input is 1. Inputs that are no square image stand in one row."
        title = "Connections per unit, most connected first"
        return [
            Figure("unevenness", "How unevenly connections are spread", (uneven,), caption=units),
            Figure(
                "profile", title, (shares,), "profile", x_label=rank, detail="connections", arms=directions, levels=shown, caption=order
            ),
            Figure("inputs", "Inputs that stay connected", (of_inputs,), "image", detail="inputs", levels=shown, caption=average),
        ]

    @claim(
        "LTH-C12",
        "appendix",
        "Units of a ticket's hidden layers keep nearly equally many incoming connections, but very unequally many outgoing ones.",
        note="Unevenness is the standard deviation over the mean of connections a unit, at 22 % density or less. A layer with few "
        "connections, or one that is not square, is uneven by chance; so it is held against the unevenness under random masks "
        "of equal counts. Up to 1.41 times as much is nearly equal, more is very unequal. That outgoing connections have to "
        "pass it was set after the first results.",
    )
    def outgoing_connections_are_uneven(self, table: Evidence) -> Iterable[Effect]:
        *hidden, output = table.table.variant.unique()
        if not hidden:
            yield table.effect("connections of hidden layers", "log2 ratio", [], lacks="no hidden layer is pruned")
        for layer in (*hidden, output):
            rows = table.only(variant=layer)
            at = rows.levels(0, 0.22)
            beyond = {arm: _log_ratio(rows, arm, f"{arm}_random", at) for arm in ("incoming", "outgoing")}
            even = rows.effect("incoming connections less than 1.41 times as uneven as by chance", "log2 ratio", EVEN - beyond["incoming"])
            uneven = rows.effect("outgoing connections more uneven than by chance", "log2 ratio", beyond["outgoing"], least=EVEN)
            counted = rows.effect(
                "outgoing more uneven than incoming, as counted", "log2 ratio", _log_ratio(rows, "outgoing", "incoming", at)
            )
            yield from (even, uneven) if layer in hidden else (aside(even), aside(uneven))
            yield aside(counted, "random masks differ in this too, by the shape of the layer alone")


def _log_ratio(rows: Evidence, first: str, second: str, at: Sequence[int]) -> Frame:
    one, other = rows.pair(first, second, "unevenness", at)
    return np.log2(one / other)


def _connections(mask: Any) -> "Iterable[tuple[str, str, np.ndarray, np.ndarray]]":
    """(layer, direction, connections of each unit, its leaf of the mask)."""
    for path, leaf in mask.items():
        for arm, count in (("incoming", of.incoming), ("outgoing", of.outgoing)):
            yield path.removesuffix("/kernel"), arm, count(leaf), leaf


def _ranked(shares: np.ndarray, most: int = 101) -> list[tuple[float, float]]:
    """(rank in per cent, share), the largest first, at no more than `most` ranks."""
    ordered = np.sort(shares)[::-1]
    places = np.unique(np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(int))
    return [(100 * (place + 0.5) / len(ordered), float(ordered[place])) for place in places]
