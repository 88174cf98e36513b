"""What the studies of autoencoders share: the code of every network is measured, and put against the dense network's."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from tombola.core.parts import tasks
from tombola.studies import Evidence, Frame, Measurement, Panel, PruningStudy, Results, Row, Run, Task, Values, picture

COLLAPSED = 0.25
"""Share of dense networks that collapsed, above which nothing is judged."""
_NEXT_TO_NOTHING = 0.9
"""An autoencoder has collapsed whose squared error is this share of the mean picture's, or more."""

LOST = Panel("lost", "share of the way from dense to the mean picture (%)", 100)
MSE = Panel("mse", "squared error of a pixel", log=True)
PROBE = Panel("probe_acc", "linear probe of the code, accuracy (%)", 100)
ACTIVE = Panel("active", "units that are on, mean share (%)", 100)
USED = Panel("used", "code units in use")
WEIGHTS = Panel("weights_used", "weights in use (%)", 100)
HOYER = Panel("hoyer", "Hoyer sparsity of codes")


class Coded(PruningStudy):
    """A study of autoencoders. Each row is a run at its end, with its code measured on test examples.

    `lost` is (score - dense) / (mean picture - dense), of the headline: 0 is as good as the dense network of the replicate, 1 has
    learnt nothing; of `probe_lost` the same of the linear probe's accuracy. A network has collapsed (`collapsed` = 1) that has no active
    latent (of the bound), or whose squared error is 0.9 times the mean picture's, or more, or not finite.
    """

    learns = ("reconstruction", "elbo")
    paper = "Kalibhat et al. 2021"
    columns: ClassVar[tuple[str, ...]] = (
        *("kept", "prunable", "score", "lost", "mse", "kl", "active", "hoyer", "dead", "used", "latents_active"),
        *("weights_used", "weight_hoyer", "probe_acc", "probe_lost", "emptied", "collapsed"),
    )

    traversed: ClassVar[bool] = False
    """Whether it is also measured what single units of the code do."""

    margin: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """The loss of quality that counts as none, as a share of the way from the dense network to the mean picture."""
    pictures: Annotated[int, Field(ge=1, le=16)] = 8
    """How many test examples are shown as pictures."""
    probed: Annotated[int, Field(ge=0)] = 1000
    """Training examples on which linear probes of the codes are fitted. 0: there are no probes."""

    def departure(self) -> str:
        """Why its sentences are not about the pruning that is configured."""
        own = self.pruning.but(rates={}, scope=None, rewind="0it").canonical()
        changed = ", ".join(f"{name} = {value}" for name, value in own.items() if name != "spec")
        return f"the claim is about single weights pruned by final magnitude; here {changed}" if changed else ""

    def row(self, arm: str, replicate: int, level: int, run: Run, variant: str = "") -> Row:
        """A row with the measurement of its code."""
        return Row(arm, replicate, level, run, variant=variant, measurement=self.coded(run))

    def coded(self, run: Run) -> Measurement:
        """The measurement of a run's code."""
        options: dict[str, Any] = {"pictures": self.pictures, "traversal": self.traversed}
        options |= {"probe": self.probed} if self.probed != Coded.model_fields["probed"].default else {}
        return Measurement(task=run.task, seed=run.seed, name="code", of=(run.at("end"), run.its_mask()), options=options)

    def dense_of(self, row: Row) -> Run:
        """The dense network that a row is put against."""
        return Run(task=row.run.task, seed=row.run.seed)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The code, and what is lost of it."""
        found, dense = (results.measured(self.coded(run)) for run in (row.run, self.dense_of(row)))
        score, best, chance = float(found["score"]), float(dense["score"]), float(found["chance"])
        bound = row.run.task.objective.name == "elbo"
        nothing = not found["latent_active"].any() if bound else not float(found["mse"]) < _NEXT_TO_NOTHING * chance
        return {
            **{name: float(found.get(name, math.nan)) for name in self.columns if name in found and np.ndim(found[name]) == 0},
            "lost": (score - best) / (chance - best) if chance > best else math.nan,
            "probe_lost": _share(dense["probe_acc"], found["probe_acc"], found["probe_chance"]),
            "latents_active": int(found["latent_active"].sum()),
            "emptied": int(found["emptied"].sum()),
            "collapsed": int(nothing or not math.isfinite(score)),
        }

    def collapsed(self, table: Evidence) -> str:
        """Why nothing is judged where too many dense networks collapsed."""
        dense = table.table[table.table.level == 0]
        if dense.empty:
            return "the dense network was not run"
        return f"{int(dense.collapsed.sum())} of {len(dense)} dense networks collapsed" if dense.collapsed.mean() > COLLAPSED else ""


def little(of: str, lost: Any, counts: float) -> str:
    """Why nothing can be said of what else would lose less: a network loses no more (pp) than would count itself."""
    mean = float(np.nanmean(lost)) if np.size(lost) else math.nan
    return f"no room: {of} loses {mean:.2g} pp, no more than the {counts:g} pp that would count" if mean <= counts else ""


def _share(dense: Any, score: Any, chance: Any) -> float:
    return float((dense - score) / (dense - chance)) if dense > chance else math.nan


def kinds(task: Task) -> dict[str, Task]:
    """`ae` -> the task, and `vae` -> the variational autoencoder of the same data and recipe, where one is registered for the data (a
    task such as ``digits-vae``); of a task that learns the bound, `vae` alone.
    """
    if task.objective.name == "elbo":
        return {"vae": task}
    named = f"{task.data.name}-vae"
    return {"ae": task, **({"vae": tasks[named]("small").but(data=task.data, recipe=task.recipe)} if named in tasks else {})}


KINDS = {"ae": "autoencoder", "vae": "variational autoencoder"}


def gallery(pictures: np.ndarray, across: int, gap: int = 0) -> np.ndarray:
    """Pictures (n, *shape) as one image, `across` in a row: greys, or the mean over channels; a vector as a square, if it is one.

    After each are `gap` pixels of the least value.
    """
    n, *shape = pictures.shape
    if len(shape) == 3:
        pictures = pictures.mean(-1)
    elif len(shape) == 1:
        side = math.isqrt(shape[0])
        pictures = pictures.reshape(n, side, side) if side * side == shape[0] else pictures[:, None, :]
    pictures = np.pad(pictures, ((0, 0), (0, gap), (0, gap)), constant_values=pictures.min())
    down = -(-n // across)
    padded = np.zeros((down * across, *pictures.shape[1:]))
    padded[:n] = pictures
    height, breadth = padded.shape[1:]
    return padded.reshape(down, across, height, breadth).swapaxes(1, 2).reshape(down * height, across * breadth)


def reconstructions(rows: Iterable[Row], results: Results) -> list[Frame]:
    """Pictures of some rows, one each: test examples, and under each row of them what the network makes of it; the least value of the
    examples is 0, which is white.
    """
    found = []
    for row in rows:
        originals, made = (results.of(row)[name] for name in ("originals", "pictures"))
        half, least = max(1, len(made) // 2), float(originals.min())
        pairs = [part[start : start + half] for start in range(0, len(made), half) for part in (originals, made)]
        shown = gallery(np.concatenate(pairs), half, gap=1).clip(least, float(originals.max())) - least
        found.append(picture(shown, **results.where(row, variant="")))
    return found


def of_first(rows: Iterable[Row], levels: Sequence[int], variant: str = "") -> list[Row]:
    """Rows of the first replicate at some levels."""
    return [row for row in rows if row.replicate == 0 and row.level in levels and row.variant == variant]


PICTURES: Mapping[str, Any] = {"kind": "image", "detail": "pictures", "x_label": "pixel", "y_label": "pixel"}
PICTURED = "The first and third row have test examples of the first replicate, and under each is what the network makes of it."
