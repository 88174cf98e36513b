"""What the verbs of the command line do: each prints a table, or JSON."""

from tombola.commands.audit import audit
from tombola.commands.beginning import demo, new, welcome
from tombola.commands.claims import claims
from tombola.commands.cluster import submit, work
from tombola.commands.completion import completion
from tombola.commands.configured import with_places
from tombola.commands.data import data_fetch, data_list, data_verify
from tombola.commands.showing import show
from tombola.commands.store import diff, store_merge, store_pack, store_prune, store_size, store_verify
from tombola.commands.stored import export, log, push, runs, why
from tombola.commands.studies import adopt, catalogue, cite, report, run, status, watch

__all__ = [
    "adopt",
    "audit",
    "catalogue",
    "cite",
    "claims",
    "completion",
    "data_fetch",
    "data_list",
    "data_verify",
    "demo",
    "diff",
    "export",
    "log",
    "new",
    "push",
    "report",
    "run",
    "runs",
    "show",
    "status",
    "store_merge",
    "store_pack",
    "store_prune",
    "store_size",
    "store_verify",
    "submit",
    "watch",
    "welcome",
    "why",
    "with_places",
    "work",
]
