"""What the verbs of the command line do: each prints a table, or JSON."""

from tombola.commands.data import data_fetch, data_list, data_verify
from tombola.commands.stored import export, runs, why
from tombola.commands.studies import adopt, catalogue, claims, report, run, show, status, watch

__all__ = [
    "adopt",
    "catalogue",
    "claims",
    "data_fetch",
    "data_list",
    "data_verify",
    "export",
    "report",
    "run",
    "runs",
    "show",
    "status",
    "watch",
    "why",
]
