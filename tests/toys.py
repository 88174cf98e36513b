"""What many tests are made of: a task, a text, studies without a paper, and what their figures show."""

import time

import numpy as np

from tombola.core.task import Data, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine.configuring import fields_of
from tombola.engine.study import study_graph
from tombola.report import figures
from tombola.studies.base import Study

RATES = {"dense": 0.2, "output": 0.1}
TOPICS, EACH = 6, 5


def tiny(**data):
    """A network of a few hundred weights that trains in a moment."""
    recipe = Recipe(steps="20it", batch=60, learning_rate=1e-2, evaluate_every="10it")
    return Task(data=Data(name="digits", **data), model=Model(name="mlp", options={"widths": [8, 6]}), recipe=recipe)


def toy_text(folder, length):
    """A file of topics: each sentence of six words is about one, and has words that all topics share."""
    random, found = np.random.default_rng(1), []
    for _ in range(length // 6):
        topic = random.integers(TOPICS)
        found += [
            f"topic{topic}{'abcde'[random.integers(EACH)]}" if random.random() < 0.7 else f"the{random.integers(3)}" for _ in range(6)
        ]
    path = folder / "toy.txt"
    path.write_text(" ".join(found))
    return path


def until(condition, seconds=120):
    """What `condition` gives as soon as it is true. Fails if that takes longer."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)
    return found


def made_up(task, replicates=1, rows=(), **own):
    """A study `made.up` of a task: its rows as given, its attributes and methods as `own` has them."""
    body = {"__module__": __name__, "name": "made.up", "answers": "", "default_task": task.name, "rows": lambda self: rows, **own}
    return type(Study)("MadeUp", (Study,), body)(task=task, replicates=replicates)


def own_test_set(task, seed):
    """Inputs and targets of the test set that a replicate has."""
    dataset = load(task.data)
    own = split(dataset, task.data, seed).test
    return dataset.test_inputs[own], dataset.test_targets[own]


def settable(config):
    """Names of a study's own fields, those of `pruning` among them but for what the study chooses itself."""
    own = [path.removeprefix("pruning.") for path in fields_of(config) if not path.startswith("task.")]
    return dict.fromkeys(field for field in own if field not in getattr(config, "chosen", ()) or field in type(config).model_fields)


def before_any_result(study):
    """All that a study does before its first result."""
    rows = [(row.variant, row.arm, row.replicate, row.level, row.draw, row.run.digest, row.measurement) for row in study.rows()]
    return rows, study_graph(study).keep, study.measurements(), study.figures(), study.arms, study.variants


def drawn(figure, report):
    """The canvas of a figure."""
    return figures.draw(figure, report).canvas


def caption(figure, report):
    """What stands under it."""
    return figures.draw(figure, report).caption


def legend_of(canvas):
    """The labels of its legend."""
    return [entry.get_text() for entry in canvas.legends[0].get_texts()]
