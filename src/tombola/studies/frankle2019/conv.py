"""Convolutional networks: tickets, re-initialisation, and which kind of layer to prune (section 3, figure 5; appendix)."""

from collections.abc import Iterable, Sequence

from tombola.evaluation.paired import densities
from tombola.studies import DENSE, Effect, Evidence, Figure, Row, TombolaError, aside, claim, study
from tombola.studies.claims import about
from tombola.studies.frankle2019.common import ARMS, CONVS, Compared, early_stop
from tombola.studies.tickets import ACC_ES, ACC_FINAL, ES, TO_1P1, TRAIN_ACC, chain_rows, tickets


@study(
    "frankle2019.conv",
    task="conv2-cifar10",
    answers="Do convolutional networks have winning tickets, and is it their convolutions that should be pruned?",
)
class Conv(Compared):
    """Tickets and their re-initialisation; the same with only convolutions, or only fully connected layers, pruned."""

    scales = {
        "smoke": {"replicates": 2, "levels": 2},
        "small": {"replicates": 6, "levels": 12, "compared": (4, 7, 10, 12)},
        "paper": {"replicates": 6, "levels": 24},
    }
    arms = ARMS | {"convs": "only convolutions pruned", "fully_connected": "only fully connected pruned"}

    def rows(self) -> Iterable[Row]:
        """Tickets of the whole network first, then those of one kind of layer."""
        rates = self.rates
        if self.task.model.name == "mlp" or not rates.get("conv") or not (rates.get("dense") or rates.get("output")):
            raise TombolaError(
                f"task {self.task.name!r} does not prune convolutions and fully connected layers both; use conv2-cifar10, conv4-cifar10 "
                "or conv6-cifar10, or set rates for both"
            )
        only = {
            "convs": {kind: rate if kind == "conv" else 0.0 for kind, rate in rates.items()},
            "fully_connected": {kind: rate if kind in ("dense", "output") else 0.0 for kind, rate in rates.items()},
        }
        for replicate in range(self.replicates):
            yield from self.compared_rows(replicate, tickets(self, replicate))
            for arm, taken in only.items():
                yield from chain_rows(arm, replicate, tickets(self, replicate, rates=taken), first=1)

    def figures(self) -> Sequence[Figure]:
        rounds = "The axis counts rounds of pruning, because with one kind of layer left whole, the whole network's density hardly falls."
        whole, kinds = ("ticket", "reinit"), ("ticket", "convs", "fully_connected")
        title = "Winning tickets of a convolutional network"
        return [
            Figure("conv", title, (*early_stop(self.task), TRAIN_ACC), arms=whole, caption="Compare the paper's figure 5."),
            Figure("kinds", "Which layers are pruned", (ES, ACC_ES, ACC_FINAL), x="level", arms=kinds, caption=rounds),
        ]

    @claim(
        "LTH-C17",
        "section 3, figure 5",
        "Winning tickets of Conv-2, Conv-4 and Conv-6 reach minimum validation loss sooner than the dense network and are more accurate.",
        about=about("Conv-2, Conv-4 and Conv-6", *CONVS),
    )
    def sooner_and_better(self, table: Evidence) -> Iterable[Effect]:
        table = _by_tickets(table)
        at = table.levels(0.07, 0.35)
        paper = "the paper: up to 3.5, 3.5 and 2.5 times sooner (1.8, 1.8 and 1.3 in log2) for Conv-2, 4 and 6"
        yield table.sooner("ticket", DENSE, at, ES, note=paper)
        yield table.above("ticket", DENSE, ACC_ES, at, note="the paper: up to +3.4, +3.5 and +3.3 pp")
        yield aside(table.sooner("ticket", DENSE, at, TO_1P1))
        yield aside(table.above("ticket", "reinit", ACC_ES, table.levels(0, 0.35)))

    @claim(
        "LTH-C18",
        "section 3, figure 5",
        "The re-initialised masks of Conv-2 and Conv-4 hold the dense network's accuracy at moderate density, or exceed it.",
        about=about("Conv-2 and Conv-4", "conv2", "conv4"),
    )
    def masks_hold(self, table: Evidence) -> Iterable[Effect]:
        table = _by_tickets(table)
        yield table.within("reinit", DENSE, ACC_ES, table.levels(0.2, 0.7))

    @claim(
        "LTH-C20",
        "appendix",
        "Pruning only the convolutions makes Conv-2, Conv-4 and Conv-6 more accurate; pruning only the fully connected layers less.",
        about=about("Conv-2, Conv-4 and Conv-6", *CONVS),
        note="Densities are those that tickets of the whole network have after as many rounds: 35 % or less.",
    )
    def prune_convolutions(self, table: Evidence) -> Iterable[Effect]:
        table = _by_tickets(table)
        at = table.levels(0, 0.35)
        yield table.above("convs", DENSE, ACC_ES, at)
        yield table.above(DENSE, "fully_connected", ACC_ES, at)


def _by_tickets(table: Evidence) -> Evidence:
    """The table with the density of tickets of the whole network in all rows of a level: by it the claims tell levels."""
    density = densities(table.only(arm="ticket").table)
    return Evidence(table.study, table.table.assign(density=table.table.level.map(density)))
