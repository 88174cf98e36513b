"""Heuristic supermasks: what the masks of a trained network are worth on the untrained one (section 5)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.evaluation.paired import effect_of
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.measurement import Measurement
from tombola.pruning.criteria import criteria
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.dense import dense_run
from tombola.studies.tickets import Levels, PruningConfig, distinct

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("acc", "validation_acc", "chance_acc")
VALUES = {"init": "initial values", "constant": "signed constant"}
"""Variant -> what kept weights are."""
COMPARED = (
    "large_final_same_sign",
    "large_final",
    "magnitude_increase",
    "movement",
    "large_init_large_final",
    "large_init",
    "random",
    "small_init",
    "small_init_small_final",
    "small_final",
    "large_final_diff_sign",
)
PICTURED = ("large_final", "magnitude_increase", "movement", "large_init_large_final", "large_final_same_sign")


class Supermasks(PruningConfig):
    """One-shot masks of a dense run on its untrained network."""

    chosen = {
        "criterion": "this study compares several; set criteria instead",
        **dict.fromkeys(("structure", "rewind", "prune_at"), "masks of single weights at the end are put on initial values; leave it"),
    }

    criteria: Annotated[tuple[str, ...], Field(min_length=1)] = COMPARED
    levels: Levels = 24
    """Rounds L: the l-th mask keeps what l rounds of pruning at `rates` leave."""
    pictured: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=4)] = (4, 8, 14)
    """Rounds of which the masks are shown in the plane of initial and final values."""


def _configure(scale: Scale, task: str) -> Supermasks:
    smoke: dict[str, Any] = {
        "replicates": 2,
        "levels": 3,
        "pictured": (2,),
        "criteria": ("large_final_same_sign", "large_final", "random"),
    }
    return Supermasks(task=named_task(task, scale), **(smoke if scale == "smoke" else {}))


@study(
    "zhou2019.supermask",
    answers="Does the mask of a trained network alone make the untrained network better than chance?",
    claims=("ZHOU-C6",),
    task="mnist1d-mlp",
    configure=_configure,
)
def supermask(config: Supermasks) -> Study:
    """Test accuracy without training, of every criterion's one-shot masks, by density and by what kept weights are."""
    distinct("criteria", config.criteria)
    for name in config.criteria:
        criteria.check(name)
    if beyond := [level for level in config.pictured if level > config.levels]:
        raise TombolaError(f"pictured = {list(config.pictured)}, but there are only {config.levels} levels; leave {beyond[0]} out")
    return Study(
        name="zhou2019.supermask",
        config=config,
        cells=tuple(
            Cell(criterion, replicate, 0, dense_run(config, replicate), measurement=measurement(config, criterion, replicate))
            for criterion in config.criteria
            for replicate in range(config.replicates)
        ),
        metrics=METRICS,
        measure=measure,
        claims=partial(claims, config),
        variants=VALUES,
        arms={name: name.replace("_", " ") for name in config.criteria},
        details=partial(details, config),
        figures=(
            *(
                Figure(
                    name,
                    f"Accuracy without training under masks of the trained network{of}",
                    (Panel("acc", "test accuracy, untrained (%)", 100),),
                    arms=arms,
                    caption="One-shot masks from the initial and final values of one dense run a replicate. Signed constant: initial "
                    "signs, each weight one standard deviation of its layer's initialiser.",
                )
                for name, of, arms in _drawings(config)
            ),
            Figure(
                "picture",
                "What a supermask keeps: share of weights by initial (across) and final value (up)",
                (Panel("value", "weights kept (%)", 100),),
                kind="image",
                detail="picture",
                arms=tuple(name for name in PICTURED if name in config.criteria) or config.criteria[:1],
                caption="Each image spans 3 standard deviations of the layer's initialiser on either side of 0; values beyond are on the "
                "edge. No weight there: white.",
            ),
        ),
    )


def _drawings(config: Supermasks) -> list[tuple[str, str, tuple[str, ...]]]:
    """(name, what its title adds, criteria) of each figure of accuracy; eleven lines are too many for one."""
    first, others = (tuple(name for name in config.criteria if (name in PICTURED) == wanted) for wanted in (True, False))
    return [one for one in (("supermask", "", first), ("others", ": other criteria", others)) if one[2]]


def measurement(config: Supermasks, criterion: str, replicate: int) -> Measurement:
    """The untrained networks under the masks of one criterion."""
    run = dense_run(config, replicate)
    options = {
        **config.pruning.but(criterion=criterion).options(run.task),
        "rounds": config.levels,
        "pictured": list(config.pictured),
    }
    return Measurement(task=run.task, seed=run.seed, name="heuristic_supermasks", of=(run.at("0it"), run.at("end")), options=options)


def measure(cell: Cell, results: Results) -> list[Row]:
    """A row for each mask and each kind of kept values."""
    assert cell.measurement is not None
    found, column = results.measured(cell.measurement), cell.run.task.objective.columns[1]
    return [
        {
            "variant": values,
            "level": level,
            "density": float(density),
            "acc": float(found[f"{values}_{column}"][level]),
            "validation_acc": float(found[f"{values}_validation_{column}"][level]),
            "chance_acc": float(cell.run.task.objective.headline_of(found["test_chance"])),
        }
        for values in VALUES
        for level, density in enumerate(found["density"])
    ]


def details(config: Supermasks, results: Results) -> "dict[str, pd.DataFrame]":
    """Shares of weights kept, by final and initial value, averaged over replicates."""
    import pandas as pd

    frames = []
    for criterion in config.criteria:
        found = [results.measured(measurement(config, criterion, replicate)) for replicate in range(config.replicates)]
        for level in config.pictured:
            share = np.array([one[f"picture/{level}"] for one in found])
            there = np.isfinite(share).sum(axis=0)
            mean = np.divide(np.nansum(share, axis=0), there, out=np.zeros_like(share[0]), where=there > 0)[::-1]
            rows, columns = np.indices(mean.shape)
            at = {"variant": "", "arm": criterion, "level": level, "density": float(np.mean([one["density"][level] for one in found]))}
            frames.append(pd.DataFrame({**at, "row": rows.reshape(-1), "column": columns.reshape(-1), "value": mean.reshape(-1)}))
    return {"picture": pd.concat(frames, ignore_index=True)}


def best(table: "pd.DataFrame", arm: str, values: str) -> "pd.Series":
    """Replicate -> test accuracy at the density that does best on validation examples, the dense network left out."""
    rows = table[(table.arm == arm) & (table.variant == values) & (table.level > 0)]
    at = rows.sort_values("validation_acc", ascending=False, kind="stable").groupby("replicate").first()
    return at.acc


def claims(config: Supermasks, table: "pd.DataFrame") -> list[Verdict]:
    """ZHOU-C6 on the table of the study."""
    chance = table.groupby("replicate").chance_acc.first()

    def effect(name: str, values: "pd.Series | None", decides: bool = True, note: str = "") -> Effect:
        return effect_of(name, "pp", [] if values is None else list(100 * values), decides=decides, note=note)

    there = set(config.criteria)
    plain = best(table, "large_final", "init") if "large_final" in there else None
    same = best(table, "large_final_same_sign", "init") if "large_final_same_sign" in there else None
    signed = best(table, "large_final_same_sign", "constant") if same is not None else None
    effects = (
        effect("large final above chance, weights at their initial values, by", None if plain is None else plain - chance),
        effect("large final same sign above large final, by", None if plain is None or same is None else same - plain),
        effect(
            "large final same sign: signed constant above initial values, by",
            None if same is None or signed is None else signed - same,
            decides=False,
            note="" if signed is None else f"{100 * signed.mean():.1f} % and {100 * (same if same is not None else signed).mean():.1f} %",
        ),
    )
    sentence = "Masks of a trained network lift the untrained one above chance, most where weights that changed sign are left out."
    note = "Each at the density that does best on validation examples."
    return [Verdict("ZHOU-C6", sentence, "Zhou et al. 2019, section 5", effects, note)]
