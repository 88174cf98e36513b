"""A finished run as files."""

import numpy as np

from tombola.core import masks
from tombola.core.trees import Tree
from tombola.engine import provenance
from tombola.procedures.run import Run
from tombola.store.files import dump_json
from tombola.training.member import COLUMNS, Member, Outcome


def files(run: Run, member: Member, outcome: Outcome, seconds: float, together: int) -> dict[str, bytes]:
    """Name -> content: description, metrics by step, summary, and what made it.

    Args:
        seconds: wall time of the wave that trained it.
        together: replicas in that wave.
    """
    lines = [",".join(COLUMNS), *(",".join(_number(value) for value in row) for row in outcome.rows)]
    summary = {
        **{name: None if np.isnan(value) else value for name, value in outcome.summary.items()},
        "kept": masks.kept(member.mask),
        "prunable": masks.size(member.mask),
        "density": masks.density(member.mask),
        "kept_by_layer": {path: int(np.count_nonzero(leaf)) for path, leaf in member.mask.items()},
    }
    return {
        "spec.json": dump_json(run.canonical()),
        "metrics.csv": ("\n".join(lines) + "\n").encode(),
        "summary.json": dump_json(summary),
        "made.json": dump_json(provenance.made(seconds, trained_together=together)),
    }


def trees(member: Member, outcome: Outcome) -> dict[str, Tree]:
    """Name -> tree: the packed mask, and the weights of the steps that were wanted."""
    weights = {f"weights/{step}it.safetensors": snapshot for step, snapshot in outcome.snapshots.items()}
    return {"mask.safetensors": masks.pack(member.mask), **weights}


def _number(value: float) -> str:
    """As short as reads back bitwise."""
    return str(int(value)) if value.is_integer() else repr(value)
