"""Convolutional networks: tickets, re-initialisation, and which kind of layer to prune (section 3, figure 5; appendix)."""

from functools import partial
from typing import TYPE_CHECKING, Any

from tombola.core.errors import TombolaError
from tombola.evaluation.paired import at_levels, by_replicate, difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Scale, Study, study
from tombola.studies.frankle2019.common import (
    ACC_ES,
    ACC_FINAL,
    ES,
    METRICS,
    SOURCE,
    TRAIN_ACC,
    Pruned,
    against_dense,
    censoring,
    compared_cells,
    measure,
    reaches_sooner,
    stops_sooner,
)
from tombola.studies.tickets import Level, margin, tickets

if TYPE_CHECKING:
    import pandas as pd


class Conv(Pruned):
    """Pruning of convolutions, of fully connected layers, and of both."""

    compared: tuple[Level, ...] = tuple(range(1, 61))
    """Levels at which tickets are also re-initialised; those beyond `levels` do not count."""


def _configure(scale: Scale, task: str) -> Conv:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2},
        "small": {"replicates": 6, "levels": 12, "compared": (4, 7, 10, 12)},
        "paper": {"replicates": 5, "levels": 24},
    }
    return Conv(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.conv",
    answers="Do convolutional networks have winning tickets, and is it their convolutions that should be pruned?",
    claims=("LTH-C17", "LTH-C18", "LTH-C20"),
    task="conv2-cifar10",
    configure=_configure,
)
def conv(config: Conv) -> Study:
    """Tickets and their re-initialisation; the same with only convolutions, or only fully connected layers, pruned."""
    rates = config.rates
    if config.task.model.name == "mlp" or not rates.get("conv") or not (rates.get("dense") or rates.get("output")):
        raise TombolaError(
            f"task {config.task.name!r} does not prune convolutions and fully connected layers both; use conv2-cifar10, conv4-cifar10 "
            "or conv6-cifar10, or set rates for both"
        )
    only = {
        "convs": {kind: rate if kind == "conv" else 0.0 for kind, rate in rates.items()},
        "fully_connected": {kind: rate if kind in ("dense", "output") else 0.0 for kind, rate in rates.items()},
    }
    cells = []
    for replicate in range(config.replicates):
        chain = tickets(config, replicate)
        cells += compared_cells(config, replicate, chain, config.compared)
        for arm, taken in only.items():
            cells += [Cell(arm, replicate, level, run) for level, run in enumerate(tickets(config, replicate, rates=taken)) if level]
    return Study(
        name="frankle2019.conv",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=partial(claims, margin(config.task), config.task.model.name),
        arms={
            "ticket": "winning ticket",
            "reinit": "same mask, fresh init",
            "convs": "only convolutions pruned",
            "fully_connected": "only fully connected pruned",
        },
        figures=(
            Figure(
                "conv",
                "Winning tickets of a convolutional network",
                (ES, ACC_ES, TRAIN_ACC),
                arms=("ticket", "reinit"),
                caption="As the paper's figure 5.",
            ),
            Figure(
                "kinds",
                "Which layers are pruned",
                (ES, ACC_ES, ACC_FINAL),
                x="level",
                arms=("ticket", "convs", "fully_connected"),
                caption="Against rounds of pruning: with one kind of layer left whole, the whole network's density hardly falls.",
            ),
        ),
    )


def claims(margin: float, model: str, table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C17, C18 and C20 on the table of the study. Levels by the density of the tickets."""
    tickets_ = table[table.arm.isin(("ticket", "reinit"))]
    accuracy = 100 * by_replicate(table, "acc_es", "ticket")
    moderate = levels_within(tickets_, 0.07, 0.35)
    sooner = stops_sooner(table, "ticket", moderate)
    better = against_dense(accuracy, moderate, lambda dense, sparse: sparse - dense)
    wins = 100 * difference(table, "acc_es", "ticket", "reinit", levels_within(tickets_, 0, 0.35))
    again = 100 * by_replicate(table, "acc_es", "reinit")
    steady = at_levels(again, levels_within(tickets_, 0.2, 0.7)).sub(accuracy[0], axis=0)
    many = levels_within(tickets_, 0, 0.35)
    kinds = {arm: (100 * by_replicate(table, "acc_es", arm)[many]).sub(accuracy[0], axis=0) for arm in ("convs", "fully_connected")}
    paper = "the paper: up to 3.5, 3.5, 2.5 times sooner (1.8, 1.8, 1.3 in log2) for Conv-2, 4, 6"
    c17: tuple[Effect, ...] = (
        effect_over_levels("ticket stops sooner than dense, at 35 to 7 %", "log2 ratio", sooner, tickets_, note=paper),
        reaches_sooner(table, "ticket", moderate),
        effect_over_levels(
            "ticket more accurate than dense, at 35 to 7 %", "pp", better, tickets_, note="the paper: up to +3.4, +3.5, +3.3 pp"
        ),
        effect_over_levels("ticket above re-init, at 35 % or less", "pp", wins, tickets_, decides=False),
    )
    c18 = (
        effect_over_levels(
            f"re-init - dense + {margin:g} pp, at 70 to 20 %",
            "pp",
            margin + steady,
            tickets_,
            note="above 0: it holds the dense accuracy",
            decides=model != "conv6",
        ),
    )
    c20 = (
        effect_over_levels("only convolutions pruned, above dense, where the ticket has 35 % or less", "pp", kinds["convs"], tickets_),
        effect_over_levels(
            "only fully connected pruned, below dense, where the ticket has 35 % or less", "pp", -kinds["fully_connected"], tickets_
        ),
    )
    return [
        Verdict(
            "LTH-C17",
            "Tickets reach minimum validation loss sooner and are more accurate than the dense network.",
            f"{SOURCE}, section 3, figure 5",
            c17,
            censoring(table, "ticket"),
        ),
        Verdict(
            "LTH-C18",
            "The re-initialised masks of Conv-2 and Conv-4 hold their accuracy at moderate density.",
            f"{SOURCE}, section 3, figure 5",
            c18,
        ),
        Verdict(
            "LTH-C20", "Pruning only the convolutions helps; pruning only the fully connected layers hurts.", f"{SOURCE}, appendix", c20
        ),
    ]
