"""Networks under attack: what is left of their accuracy, how far inputs have to move, and which attacks carry over."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.numbers import whole
from tombola.core.trees import Tree
from tombola.evaluation.adversary import Adversary, Unit
from tombola.evaluation.attacks import ATTACKS
from tombola.evaluation.plausibility import Plausibility
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.procedures.actions import Context
from tombola.procedures.measurements import Loop, Query, facts, measurements

SHOWN = 8
"""Attacked examples that are kept as pictures."""


@measurements.register
def attacked(
    context: Context,
    *networks: Tree,
    eps: Sequence[float],
    attacks: Sequence[str] = tuple(ATTACKS),
    steps: int = 40,
    restarts: int = 5,
    examples: int | None = None,
    unit: Unit = "input",
    fixed: Sequence[int] = (),
    integers: Sequence[int] = (),
    transfer: bool = False,
    bounded: bool = True,
    plausible: bool = False,
    relations: Sequence[Mapping[str, float]] = (),
) -> Loop:
    """P networks under attack on the first n test examples, at E radii in the maximum norm.

    An example counts as right under attack if every one of the attacks leaves it right, and no attack at all: the minimum over the
    ensemble.

    Args:
        eps, unit, fixed, integers, bounded: as of `tombola.evaluation.adversary.Adversary.ball`.
        attacks: of `fgsm`, `pgd`, `square`, `random`.
        steps, restarts: of PGD, whose steps are 2.5 eps / steps; 300 and 100 steps of square and random search.
        examples: n; None: all.
        plausible: whether it is looked at which attacked rows of a table could be rows: within the range of training rows, no outlier of
            the class that they are predicted to be (`tombola.evaluation.plausibility`), whole numbers where `integers` are, features
            that are `fixed` as they were, and each of the `relations` kept that the row kept before.
        relations: of features, by their places: {"3": 1, "0": -1} says that feature 3 is no smaller than feature 0.
        transfer: whether PGD's examples for each network are shown to each other one; at the last radius.

    Gives: `clean_acc` (P,); `robust_acc` (P, E); `fgsm_acc` and so on, by attack, (P, E), whose examples that are wrong unattacked count
    as wrong; `distance` (P,), the median 2-norm of DeepFool's changes over examples that are right and that it fooled;
    `deepfool_found` (P,), the share of these that it fooled; `transfer` (P, P), the share of examples right for both networks that the
    attack on the first (row) makes wrong for the second; `plausible_acc` (P, E), as `robust_acc`, if
    only plausible rows count; `implausible` (P, E), the share of examples, of those that some attack makes wrong, of which no changed row
    is plausible; `original`, `picture` (P, 8, ...), inputs, and PGD's at the last radius.
    """
    if not networks or not len(eps) or min(eps) <= 0:
        raise TombolaError(f"attacked: {len(networks)} networks, eps = {list(eps)}; give one network and one radius above 0 at least")
    for name in attacks:
        if name not in ATTACKS:
            raise unknown("attack", name, ATTACKS)
    if unit not in ("input", "range", "std"):
        raise unknown("unit", unit, ("input", "range", "std"))
    if not attacks or (transfer and "pgd" not in attacks):
        raise TombolaError(f"attacks = {list(attacks)}; name one or more, and pgd where transfer is measured")
    try:
        rules = [{int(place): float(factor) for place, factor in relation.items()} for relation in relations]
    except (ValueError, AttributeError):
        raise TombolaError(f'relations = {list(relations)}; write features by their places, such as [{{"3": 1, "0": -1}}]') from None
    if rules and not plausible:
        raise TombolaError("relations say what is plausible; give plausible=true with them")
    for name, number in (("steps", steps), ("restarts", restarts)):
        whole(name, number, 1)
    adversary = cache(lambda: context.adversary(examples))
    fits = cache(lambda: adversary().plausibility(rules))
    jobs = [(attack, place) for attack in attacks for place in range(len(eps))] + [("deepfool", len(eps) - 1)]

    def first() -> dict[str, np.ndarray]:
        foe = adversary()
        _ = fits() if plausible else None
        count, n = len(networks), len(foe.targets)
        state = {"job": np.array(0), "clean": foe.wrong(networks, foe.inputs), "distance": np.full((count, n), np.nan, np.float32)}
        state |= {f"sound/{attack}": np.zeros((count, len(eps), n), bool) for attack in attacks} if plausible else {}
        state |= {f"wrong/{attack}": np.zeros((count, len(eps), n), bool) for attack in attacks}
        state["picture"] = np.stack([foe.inputs[:SHOWN]] * count)
        return state | {"transfer": np.zeros((count, count, n), bool)}

    def advance(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        job = int(state["job"])
        (attack, place), foe = jobs[job], adversary()
        ball = foe.ball(eps[place], unit, fixed, integers, bounded)
        options = {"steps": steps, "restarts": restarts} if attack == "pgd" else {}
        moved = foe.run(attack, networks, ball, **options)
        fooled, changed = foe.wrong(networks, moved), {"job": np.array(job + 1)}
        if attack == "deepfool":
            sizes = np.sqrt(((moved - foe.inputs) ** 2).reshape(*fooled.shape, -1).sum(-1))
            return {**state, **changed, "distance": np.where(fooled & ~state["clean"], sizes, np.nan).astype(np.float32)}
        changed[f"wrong/{attack}"] = state[f"wrong/{attack}"].copy()
        changed[f"wrong/{attack}"][:, place] = fooled
        if plausible:
            changed[f"sound/{attack}"] = state[f"sound/{attack}"].copy()
            changed[f"sound/{attack}"][:, place] = [
                _sound(foe, fits(), *pair, fixed, integers) for pair in zip(networks, moved, strict=True)
            ]
        if attack == "pgd" and place == len(eps) - 1:
            changed["picture"] = moved[:, :SHOWN]
            if transfer:
                changed["transfer"] = np.stack([foe.wrong(networks, own) for own in moved])
        return {**state, **changed}

    def query(state: Mapping[str, np.ndarray]) -> Query:
        right = ~state["clean"]
        left = {attack: right[:, None] & ~state[f"wrong/{attack}"] for attack in attacks}
        both = right[:, None] & right[None]
        moved = np.where(both, state["transfer"], False).sum(-1) / np.maximum(both.sum(-1), 1)
        found = {"clean_acc": right.mean(-1), "robust_acc": np.logical_and.reduce([*left.values()]).mean(-1)}
        found |= {f"{attack}_acc": of.mean(-1) for attack, of in left.items()}
        if plausible:
            fooled = {attack: right[:, None] & state[f"wrong/{attack}"] for attack in attacks}
            some = np.logical_or.reduce([*fooled.values()])
            sound = np.logical_or.reduce([fooled[attack] & state[f"sound/{attack}"] for attack in attacks])
            found["plausible_acc"] = (right[:, None] & ~sound).mean(-1)
            found["implausible"] = np.divide((some & ~sound).sum(-1), some.sum(-1), out=np.full(some.shape[:2], np.nan), where=some.any(-1))
        there = np.isfinite(state["distance"])
        found["distance"] = np.array([np.median(row[ok]) if ok.any() else np.nan for row, ok in zip(state["distance"], there, strict=True)])
        found["deepfool_found"] = there.sum(-1) / np.maximum(right.sum(-1), 1)
        shown = adversary().inputs[:SHOWN]
        found |= {"picture": state["picture"], "original": shown, **({"transfer": moved} if transfer else {})}

        def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
            return {**found, **facts("test", scores["test"])}

        return Query(WeightCombinations(context.seed, networks[:1]), read, ("test",))

    return Loop(first, advance, lambda state: float(state["job"]) / len(jobs), query)


def _sound(
    foe: Adversary, fits: Plausibility, network: Tree, moved: np.ndarray, fixed: Sequence[int], integers: Sequence[int]
) -> np.ndarray:
    """(n,) which changed rows are plausible."""
    rows, before = foe.as_given(moved), foe.as_given(foe.inputs)
    change = rows - before
    kept = (np.abs(change[:, list(fixed)]) < 1e-3).all(axis=1)
    whole = (np.abs(change[:, list(integers)] - np.round(change[:, list(integers)])) < 1e-2).all(axis=1)
    return kept & whole & fits(rows, before, foe.predicted(network, moved))
