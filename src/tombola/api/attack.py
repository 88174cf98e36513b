"""`tombola.attack`: what is left of trained networks under attack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.api.session import Session, how_many, weights_of
from tombola.core.task import Task
from tombola.evaluation.adversary import Unit
from tombola.procedures.measurement import Measurement
from tombola.store.store import Store
from tombola.studies.figure import Figure, Panel
from tombola.studies.shown import Shown, as_arms, long

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Attacked(Shown):
    """The result of an attack: arrays over R replicates (leading axis) and E radii."""

    clean: np.ndarray
    """(R,) test accuracy in [0, 1], unattacked."""
    robust: np.ndarray
    """(R, E) test accuracy that no attack takes away."""
    by_attack: Mapping[str, np.ndarray]
    """Attack -> (R, E) test accuracy that it alone leaves."""
    distance: np.ndarray
    """(R,) median 2-norm of what DeepFool changes."""
    original: np.ndarray
    """(R, 8, ...) the first test examples, as networks get them."""
    picture: np.ndarray
    """(R, 8, ...) PGD's examples for each network, at the last radius."""
    eps: tuple[float, ...]
    """(E,) the radii."""

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`radii`, a row a replicate and radius: what each attack leaves, and all together; and `networks`, a row a replicate."""
        replicas = ("replicate", range(len(self.clean)))
        return {
            "radii": long([replicas, ("eps", self.eps)], clean=self.clean, robust=self.robust, **self.by_attack),
            "networks": long([replicas], clean=self.clean, distance=self.distance),
        }

    def pictures(self) -> "list[tuple[Figure, pd.DataFrame]]":
        """Accuracy by radius, under each attack and under all."""
        arms = {"all attacks": "robust", **{name: name for name in self.by_attack}}
        rows = as_arms(self.to_pandas().rename(columns={"eps": "x"}), "accuracy", arms)
        panel = Panel("accuracy", "test accuracy under attack (%)", 100)
        return [(Figure("attacks", "What is left under attack", (panel,), kind="profile", detail="radii", x_label="radius"), rows)]


def attack(
    task: Task,
    weights: Mapping[str, Any],
    *,
    eps: float | Sequence[float],
    attacks: Sequence[str] = ("fgsm", "pgd", "square", "random"),
    steps: int = 40,
    restarts: int = 5,
    examples: int | None = None,
    unit: Unit = "input",
    fixed: Sequence[int] = (),
    integers: Sequence[int] = (),
    seed: int = 0,
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
) -> Attacked:
    """Attack R networks on test examples, with all of several attacks: an example counts as right only if none of them makes it wrong.

    Args:
        weights: leaves (R, ...), such as ``dense.final``.
        eps: one radius or several, in the maximum norm.
        attacks: of `fgsm`, `pgd`, `square` and `random`.
        steps, restarts: those of PGD, whose steps are 2.5 eps / steps long.
        examples: how many test examples are attacked, the first ones. None: all.
        unit: what a radius of 1 is: the unit of the inputs (`input`; pixels are on a scale from 0 to 1), or each feature's `range`, or its
            standard deviation (`std`).
        fixed, integers: the places of features that must stay as they are, and of those that must stay whole numbers.
        seed: that of the replicates, from which random attacks draw.

    Raises:
        TombolaError: for an attack or unit that there is not, for inputs that are tokens, or for targets that are no classes.
    """
    session = Session.of(task, store, data_dir, weights)
    full = weights_of("weights", weights, session.network)
    radii = [float(one) for one in np.atleast_1d(eps)]
    said = {"eps": radii, "attacks": list(attacks), "steps": steps, "restarts": restarts, "examples": examples, "unit": unit}
    said |= {"fixed": list(fixed), "integers": list(integers)}
    runs = session.runs(how_many(None, weights=full), seed)
    wanted = [
        Measurement(task=session.task, seed=run.seed, name="attacked", of=(ref,), options=said)
        for run, ref in zip(runs, session.refer(full), strict=True)
    ]
    found = session.measure(wanted)
    taken = {name: np.concatenate([one[name] for one in found]) for name in ("clean_acc", "robust_acc", "distance", "picture")}
    by_attack = {name: np.concatenate([one[f"{name}_acc"] for one in found]) for name in attacks}
    shown = np.stack([one["original"] for one in found])
    return Attacked(taken["clean_acc"], taken["robust_acc"], by_attack, taken["distance"], shown, taken["picture"], tuple(radii))
