"""What many tests are made of: studies without a paper, and what their figures show."""

from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine.configuring import fields_of
from tombola.engine.study import study_graph
from tombola.report import figures
from tombola.studies.base import Study


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
    rows = [(row.variant, row.arm, row.replicate, row.level, row.run.digest) for row in study.rows()]
    return rows, study_graph(study).keep, study.figures(), study.variants


def drawn(figure, report):
    """The canvas of a figure."""
    return figures.draw(figure, report).canvas


def caption(figure, report):
    """What stands under it."""
    return figures.draw(figure, report).caption


def legend_of(canvas):
    """The labels of its legend."""
    return [entry.get_text() for entry in canvas.legends[0].get_texts()]
