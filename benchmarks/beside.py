"""What is new, beside what it is compared with, in a process of its own: ``beside.py smoke|full``; JSON on stdout.

Each row is two trainings of one replica on one core, by turns, in processor seconds: other work changes them less than wall time. The
ratio is that of the least of each.
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from setting import confine, effort

import tombola as tb
from tombola.core.parts import detectors

WIDTHS, SIZE, EXAMPLES = [300, 100], 64, 2010


def main() -> None:
    smoke = sys.argv[1] == "smoke"
    confine(1)
    repeats = effort(smoke).repeats
    print(json.dumps({name: measured(pair, repeats) | {"most": most} for name, most, pair in rows(smoke)}))


def measured(pair: tuple[Any, Any], repeats: int) -> dict[str, Any]:
    """Processor seconds of both, and the ratio of their minima."""
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for own, (task, given) in zip(found, pair, strict=True):
            began = time.process_time()
            tb.train(task, replicates=1, seed=1, **given)
            if turn:  # the first compiles
                own.append(time.process_time() - began)
    return {"seconds": found, "ratio": min(found[0]) / min(found[1])}


def rows(smoke: bool) -> Iterator[tuple[str, float, tuple[Any, Any]]]:
    """(name, the most that the ratio may be, both trainings as a task and what else it is given)."""
    steps = {"steps": "60it", "evaluate_every": "20it"} if smoke else {}
    for name in ("digits-mlp", "mnist1d-mlp")[: 1 if smoke else 2]:
        task = tb.task(name, **steps)
        mask = {"mask": tb.Action(name="sparse", options={"density": 0.2})}
        every = "20it" if smoke else "100it"
        for schedule in ("rigl", "set")[: 1 if smoke else 2]:
            moving = tb.MaskSchedule(name=schedule, options={"every": every})
            yield (
                f"{name}: {schedule} / a constant mask",
                1.05,
                ((task.but(recipe=task.recipe.but(mask_schedule=moving)), mask), (task, mask)),
            )
    task = tb.task("digits-mlp", **steps)
    for name in list(detectors)[: 1 if smoke else None]:
        found = task.but(recipe=task.recipe.but(detect=name))
        yield f"digits-mlp: detector {name} / none", 1.1, ((found, {}), (task, {}))
    plain = trained("classification", smoke)
    for objective in ("regression", "reconstruction")[: 1 if smoke else 2]:
        yield f"{objective} / classification, 64-300-100-64", 1.1, ((trained(objective, smoke), {}), (plain, {}))
    try:
        import torch
    except ImportError:
        return
    hidden = [part for sizes in zip([SIZE, *WIDTHS], WIDTHS, strict=False) for part in (torch.nn.Linear(*sizes), torch.nn.ReLU())]
    module = torch.nn.Sequential(*hidden, torch.nn.Linear(WIDTHS[-1], SIZE))
    yield "a PyTorch module, converted / ours, 64-300-100-64", 1.05, ((plain.but(model=tb.model(module)), {}), (plain, {}))


def trained(objective: str, smoke: bool) -> tb.Task:
    """The same network on noise, whose targets are classes, numbers or the inputs."""
    random = np.random.default_rng(0)
    inputs = random.standard_normal((EXAMPLES, SIZE), np.float32)
    targets = random.standard_normal((EXAMPLES, SIZE), np.float32) if objective == "regression" else np.resize(np.arange(SIZE), EXAMPLES)
    data = tb.from_arrays(inputs, targets, inputs[:SIZE], targets[:SIZE], validation=SIZE)
    recipe = tb.Recipe(steps="60it" if smoke else "2000it", batch=60, learning_rate=1e-3, evaluate_every="100it")
    return tb.Task(data=data, model=tb.model("mlp", widths=WIDTHS), recipe=recipe, objective=objective)


if __name__ == "__main__":
    main()
