"""Imports run one way, start-up stays light, and what is public is documented."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tombola

SOURCE = Path(tombola.__file__).parent
ROOMS = [
    "core",
    "kernels",
    "data",
    "models",
    "objectives",
    "training",
    "pruning",
    "surgery",
    "evaluation",
    "procedures",
    "studies",
    "store",
    "engine",
    "api",
    "report",
    "commands",
    "cli",
]
HEAVY = ("jax", "flax", "optax", "scipy", "pandas", "matplotlib", "sklearn", "mnist1d", "pooch", "rich", "torch")


def room(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path.name not in ("__init__.py", "__main__.py") or path.parent != SOURCE]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_from_rooms_before_it(path):
    here = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for name in imports(path):
        if name and name.split(".")[0] == "tombola" and (there := room(name)):
            assert ROOMS.index(there) <= ROOMS.index(here), f"{here} must not import {name}"


@pytest.mark.slow
def test_no_cycles_between_files():
    graph = {}
    for path in SOURCE.rglob("*.py"):
        name = ".".join(("tombola", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        graph[name] = [found for found in imports(path) if found and found.startswith("tombola.") and found != name]
    state = {}

    def visit(name, chain):
        assert state.get(name) != "open", " -> ".join([*chain, name])
        if name not in state:
            state[name] = "open"
            for child in graph.get(name, []):
                visit(child, [*chain, name])
            state[name] = "done"

    for name in graph:
        visit(name, [])


def loaded(code):
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import tombola; dir(tombola); tombola.Task; tombola.TombolaError; tombola.task('mnist1d-mlp')",
        "import contextlib, tombola.cli\nwith contextlib.suppress(SystemExit): tombola.cli.main(['run', '--help'])",
        "from tombola.core import task, keys, masks, trees, spec; import tombola.data.dataset",
        "import tombola.studies.catalogue, tombola.engine.study, tombola.report.page, tombola.commands",
    ],
)
def test_imports_and_help_are_light(code):
    assert loaded(code) == []


def test_importing_changes_no_environment():
    code = "import os; before = dict(os.environ); import tombola; tombola.task; assert dict(os.environ) == before"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", tombola.__all__)
def test_every_public_name_exists_and_is_documented(name):
    part = getattr(tombola, name)
    assert inspect.getdoc(part)


def test_names_that_are_not_those_of_their_modules_are_public_too():
    assert {"compact", "model"} <= set(tombola.__all__)


@pytest.mark.slow
def test_editors_and_type_checkers_see_every_public_name(tmp_path):
    uses = "".join(f"tombola.{name}\n" for name in [*tombola.__all__, "nothing_like_it"])
    (tmp_path / "uses.py").write_text(f"import tombola\n{uses}")
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports", "silent", "--ignore-missing-imports", "uses.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"MYPYPATH": str(SOURCE.parent)})
    lacking = f'uses.py:{len(tombola.__all__) + 2}: error: Module has no attribute "nothing_like_it"  [attr-defined]'
    assert done.stdout.splitlines() == [lacking, "Found 1 error in 1 file (checked 1 source file)"]


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing_like_it"):
        tombola.nothing_like_it  # noqa: B018


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_say_what_they_are_for_and_stay_small(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body
    assert len(path.read_text().splitlines()) <= 300
