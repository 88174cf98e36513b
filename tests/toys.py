"""What many tests are made of: studies without a paper."""

from tombola.studies.base import Study


def made_up(task, replicates=1, rows=(), **own):
    """A study `made.up` of a task: its rows as given, its attributes and methods as `own` has them."""
    body = {"__module__": __name__, "name": "made.up", "answers": "", "default_task": task.name, "rows": lambda self: rows, **own}
    return type(Study)("MadeUp", (Study,), body)(task=task, replicates=replicates)
