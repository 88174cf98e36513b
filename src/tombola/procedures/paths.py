"""Copies of a network under SGD noise of their own, and the lines between them (Frankle et al. 2020, section 2)."""

from collections.abc import Sequence
from typing import Any

from tombola.core.numbers import whole
from tombola.core.step import Step
from tombola.evaluation.barrier import places
from tombola.procedures.measurement import Measurement, check_options
from tombola.procedures.run import Action, Run


def path_options(points: int, batch_norm: str, train_examples: int | None) -> dict[str, Any]:
    """The options of the measurement `path`. Raises for what is not allowed."""
    places(whole("points", points))
    check_options(batch_norm, train_examples)
    return {"points": points, "batch_norm": batch_norm, "train": train_examples}


def from_step(dense: Run, k: Step) -> Run:
    """The dense network trained on from W_k; under the same noise it would be the dense run itself."""
    return dense.but(kept=Action(name="rewind", of=(dense.at(k),)), begin=k)


def children_of(parent: Run, vary: Sequence[str], children: int) -> list[Run]:
    """Runs that differ from `parent` in nothing but SGD noise."""
    return [parent.but(noise=dict.fromkeys(vary, f"child/{index}")) for index in range(children)]


def path_between(first: Run, second: Run, dense: Run | None, options: dict[str, Any]) -> Measurement:
    """The path between the ends of two runs; where both went on from W_k, with the distances travelled since, and since W_0."""
    ends, kept = (first.at("end"), second.at("end")), first.kept
    rewound = dense is not None and kept is not None and kept.name == "rewind" and kept == second.kept
    before = (kept.of[0], dense.at("0it"), first.its_mask()) if rewound and kept is not None and dense is not None else ()
    return Measurement(task=first.task, seed=first.seed, name="path", of=(*ends, *before), options=options)
