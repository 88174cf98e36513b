"""What many tests are made of: studies without a paper, and what their figures show."""

from tombola.report import figures
from tombola.studies.base import Study


def made_up(task, replicates=1, rows=(), **own):
    """A study `made.up` of a task: its rows as given, its attributes and methods as `own` has them."""
    body = {"__module__": __name__, "name": "made.up", "answers": "", "default_task": task.name, "rows": lambda self: rows, **own}
    return type(Study)("MadeUp", (Study,), body)(task=task, replicates=replicates)


def drawn(figure, report):
    """The canvas of a figure."""
    return figures.draw(figure, report).canvas


def caption(figure, report):
    """What stands under it."""
    return figures.draw(figure, report).caption


def legend_of(canvas):
    """The labels of its legend."""
    return [entry.get_text() for entry in canvas.legends[0].get_texts()]
