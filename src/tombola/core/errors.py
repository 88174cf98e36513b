"""The one kind of error a user may see."""

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class TombolaError(ValueError):
    """A mistake that the user can mend: one line with what was given, what is allowed and the remedy."""


def shown(value: Any) -> str:
    """What was given, as far as one line holds it."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:76]} ..."


def unknown(kind: str, given: object, allowed: Iterable[str]) -> TombolaError:
    """The error for a name that is not registered: the nearest name first, then all of them."""
    names = sorted(allowed)
    near = nearest(given, names)
    hint = f"did you mean {near!r}? " if near else f"from a file it is {given}:NAME; " if str(given).endswith(".py") else ""
    return TombolaError(f"unknown {kind} {shown(given)}: {hint}one of {', '.join(names) or '(none registered)'}")


SYNONYMS = {
    **dict.fromkeys(("lr", "eta", "step_size", "base_lr", "init_lr"), "learning_rate"),
    **dict.fromkeys(("epochs", "iterations", "iters", "max_steps", "max_epochs", "num_epochs", "n_epochs", "training_steps"), "steps"),
    **dict.fromkeys(("bs", "batch_size", "minibatch"), "batch"),
    **dict.fromkeys(("wd", "l2", "decay_rate"), "weight_decay"),
    **dict.fromkeys(("optim", "optimiser", "opt"), "optimizer"),
    **dict.fromkeys(("betas", "b1", "b2", "eps", "optim_kwargs"), "optimizer_options"),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), "schedule"),
    **dict.fromkeys(("gamma", "lr_decay"), "decay"),
    **dict.fromkeys(("warmup_steps", "warmup_epochs", "num_warmup_steps"), "warmup"),
    **dict.fromkeys(("seeds", "n_seeds", "num_seeds", "trials", "repeats", "n_runs", "runs"), "replicates"),
    **dict.fromkeys(("random_state", "random_seed"), "seed"),
    **dict.fromkeys(("rounds", "prune_rounds", "pruning_iterations", "n_rounds"), "levels"),
    **dict.fromkeys(("fraction", "amount", "prune_rate", "prune_ratio", "pruning_rate", "pruning_fraction"), "rates"),
    **dict.fromkeys(("sparsities", "sparsity", "target_sparsity", "keep_ratio"), "densities"),
    **dict.fromkeys(("score", "saliency", "importance"), "criterion"),
    **dict.fromkeys(("rewind_to", "rewind_step", "rewinding", "reset_to"), "rewind"),
    **dict.fromkeys(("init", "initialization", "initialisation", "weight_init"), "initializer"),
    **dict.fromkeys(("eval_every", "eval_interval", "val_every", "log_every"), "evaluate_every"),
    **dict.fromkeys(("dtype", "amp"), "precision"),
    **dict.fromkeys(("freeze", "trainable"), "frozen"),
    **dict.fromkeys(("loss", "criterion_fn"), "objective"),
    **dict.fromkeys(("aug", "augmentation", "transform", "transforms"), "augment"),
}
"""What other libraries call a field -> what it is called here."""


def nearest(given: object, names: Iterable[str]) -> str:
    """The name that is meant: what other libraries call so, the same in other letters, or the most alike; "" if none is near.

    >>> nearest("lr", ["learning_rate", "lrs"]), nearest("SGD", ["sgd"]), nearest("levles", ["levels"])
    ('learning_rate', 'sgd', 'levels')
    """
    there, asked = {name.lower(): name for name in names}, str(given)[:80].lower()
    known = SYNONYMS.get(asked.rpartition(".")[2], "")
    near = [known] if known in there else get_close_matches(asked, there, n=1)
    return there[near[0]] if near else ""


class TombolaWarning(UserWarning):
    """Something that is not a mistake, but makes a result worth less: a diverged network, an empty layer, one at chance."""


def warn(*lines: str) -> None:
    """One warning of Python's for all that there is to say, at the line of the user's that called; none for nothing."""
    found = list(dict.fromkeys(lines))
    if not found:
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("tombola."):
        frame, level = frame.f_back, level + 1
    more = f"; and {len(found) - 3} more like these" if len(found) > 3 else ""
    warnings.warn("; ".join(found[:3]) + more, TombolaWarning, stacklevel=level)
