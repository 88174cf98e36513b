"""A finished run as files."""

import numpy as np

from tombola.core import masks
from tombola.core.masks import Mask
from tombola.core.parts import users_code
from tombola.core.trees import Tree
from tombola.engine import provenance
from tombola.procedures.run import Run
from tombola.store.files import dump_json
from tombola.training.replica import Outcome, Replica, columns


def files(run: Run, replica: Replica, outcome: Outcome, network: str, spent: tuple[float, float], together: int) -> dict[str, bytes]:
    """Name -> content: description, metrics by step, summary, what made it, and the code of the user's that it names.

    Args:
        network: what the store calls the description of its network.
        spent: wall time of the batch that trained it, and how much of that went into compiling: seconds.
        together: replicas in that batch.
    """
    lines = [",".join(columns(run.task)), *(",".join(_number(value) for value in row) for row in outcome.rows)]
    signals = [",".join(outcome.signal_names), *(",".join(map(_number, row)) for row in outcome.signals)]
    mask = last_mask(replica, outcome)
    summary = {
        **{name: None if np.isnan(value) else value for name, value in outcome.summary.items()},
        "kept": masks.kept(mask),
        "prunable": masks.size(mask),
        "density": masks.density(mask),
        "network": network,
        "kept_by_layer": {path: int(np.count_nonzero(leaf)) for path, leaf in mask.items()},
    }
    return {
        "spec.json": dump_json(run.canonical()),
        "metrics.csv": ("\n".join(lines) + "\n").encode(),
        **({"signals.csv": ("\n".join(signals) + "\n").encode()} if run.task.recipe.detect else {}),
        "summary.json": dump_json(summary),
        "made.json": dump_json(provenance.made(*spent, trained_together=together)),
        **({"code.py": code.encode()} if (code := users_code(run.canonical(), type(run.task.objective))) else {}),
    }


def trees(replica: Replica, outcome: Outcome) -> dict[str, Tree]:
    """Name -> tree: the mask, one bit a weight, and the weights of the steps that were wanted; of one that moves, that of each of them."""
    weights = {f"weights/{step}it.safetensors": snapshot for step, snapshot in outcome.snapshots.items()}
    moved = {f"masks/{step}it.safetensors": masks.pack(mask) for step, mask in outcome.masks.items()}
    return {"mask.safetensors": masks.pack(last_mask(replica, outcome)), **moved, **weights}


def last_mask(replica: Replica, outcome: Outcome) -> Mask:
    """The mask that training ended with."""
    return outcome.masks[max(outcome.masks)] if outcome.masks else replica.mask


def _number(value: float) -> str:
    """A number as the shortest text that reads back bitwise."""
    return str(int(value)) if value.is_integer() else repr(value)
