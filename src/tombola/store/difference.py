"""Two runs compared: what differs in their descriptions, curves, weights and masks."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tombola.core.masks import Mask
from tombola.procedures.network_info import from_json
from tombola.store.store import Record


def difference(first: Record, second: Record) -> dict[str, Any]:
    """What differs between two stored runs a and b, as JSON values.

    - `description`: field, a, b; "" where one has no such field. Of parents the digests differ.
    - `curves`: of each column of both: evaluations at the steps that both have; how many of them differ bitwise, the first step at
      which they do, the largest |a - b| with its step, and the last values. NaN equals NaN.
    - `weights`: of each leaf at each step that both kept: values, how many differ, the largest |a - b|, the relative distance
      |a - b| / |a| in the Euclidean norm, and the cosine of the angle between a and b, from -1 to 1.
    - `masks`: of each prunable leaf: weights that a, b and both keep, and their overlap |a and b| / |a or b|, in [0, 1].

    Leaves of different shapes are no pair, and are left out; `leaves` names them. Raises `Damaged`.
    """
    kept = sorted(first.steps() & second.steps())
    weights, unlike = [], set()
    for step in kept:
        a, b = first.weights(step), second.weights(step)
        unlike |= {path for path in a.keys() | b.keys() if path not in a or path not in b or a[path].shape != b[path].shape}
        weights += [{"step": step, "leaf": path, **_distance(a[path], b[path])} for path in a if path not in unlike]
    masks, of = _mask(first), _mask(second)
    return {
        "runs": [first.digest, second.digest],
        "description": [
            {"field": path, "a": a, "b": b} for path, a, b in _differing(first.json("spec"), second.json("spec"), "") if path != "spec"
        ],
        "curves": [{"column": name, **one} for name, one in _curves(first.metrics(), second.metrics()).items()],
        "weights": weights,
        "leaves": sorted(unlike),
        "masks": [
            {"leaf": path, **_overlap(masks[path], of[path])} for path in masks if path in of and masks[path].shape == of[path].shape
        ],
    }


def _differing(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The JSON values that differ: (path, a, b); what is missing is ""."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys([*a, *b]):
            yield from _differing(a.get(name, ""), b.get(name, ""), f"{path}.{name}".lstrip("."))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _differing(one, other, f"{path}.{place}")
    elif a != b:
        yield path, a, b


def _curves(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    steps, here, there = np.intersect1d(a["step"], b["step"], return_indices=True)
    found: dict[str, dict[str, Any]] = {}
    for name in [name for name in a if name in b and name != "step"] if steps.size else []:
        one, other = a[name][here], b[name][there]
        differ = ~((one == other) | (np.isnan(one) & np.isnan(other)))
        gap = np.where(differ, np.abs(one - other), 0)
        most = int(np.argmax(np.where(np.isnan(gap), np.inf, gap)))
        found[name] = {
            "evaluations": int(steps.size),
            "differ": int(differ.sum()),
            "first": int(steps[differ][0]) if differ.any() else None,
            "largest": _number(gap[most]),
            "at": int(steps[most]) if differ.any() else None,
            "a": _number(one[-1]),
            "b": _number(other[-1]),
        }
    return found


def _distance(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    one, other = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    gap, norms = np.linalg.norm(one - other), (np.linalg.norm(one), np.linalg.norm(other))
    return {
        "values": a.size,
        "differ": int(np.count_nonzero(~((one == other) | (np.isnan(one) & np.isnan(other))))),
        "largest": _number(np.max(np.abs(one - other), initial=0)),
        "relative": _number(gap / norms[0]) if norms[0] else None,
        "cosine": _number(one @ other / (norms[0] * norms[1])) if all(norms) else None,
    }


def _mask(record: Record) -> Mask:
    """The mask of a record; none where nothing says of what shape it is."""
    info = record.network()
    if info is None:
        return {}
    network = from_json(info)
    return record.mask({path: network.shapes[path] for path in network.prunable})


def _overlap(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    either = int(np.count_nonzero(a | b))
    both = int(np.count_nonzero(a & b))
    return {"a": int(np.count_nonzero(a)), "b": int(np.count_nonzero(b)), "both": both, "overlap": both / either if either else 1.0}


def _number(value: Any) -> float | None:
    """A number as JSON holds it: NaN is None."""
    return None if np.isnan(value) else float(value)
