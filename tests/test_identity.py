"""What a user's part is: another network is never taken for it, and nothing that does not change it makes it another."""

import ast
import dataclasses
import enum
import functools
import linecache
import os
import random
import subprocess
import sys
import textwrap
import threading
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from tombola.core.code import imports_bound
from tombola.core.errors import TombolaError
from tombola.core.identity import code_digest, sources
from tombola.core.outside import taken_from_outside

NET = '''
"""A network."""
import enum
import functools
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import near
from near import block

WIDTH = 5
TABLE = {"a": [1, 2, (3.0, None)], "b": {4, 5}}
MASK = np.tril(np.ones((3, 3)))
CAUSAL = jnp.arange(4)
half = functools.partial(near.scaled, by=0.5)


class Kind(enum.Enum):
    SMALL = 1
    LARGE = 2

    def factor(self):
        return self.value * 2


@dataclass
class Settings:
    """Settings."""

    depth: int = 2
    widths: list = field(default_factory=lambda: [3, 4])

    def total(self):
        return self.depth * 10


SETTINGS = Settings(depth=3)


def twice(function):
    @functools.wraps(function)
    def inner(self, x):
        return 2 * function(self, x)

    return inner


def helper(x, power=2, *, shift=0):
    """Help."""
    return x**power + shift


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def unrelated(x):
    return x


@jax.jit
def compiled(x):
    return x + 1


class Neighbour(nnx.Module):
    def __init__(self, rngs):
        self.inner = nnx.Linear(2, 2, rngs=rngs)


class Base(nnx.Module):
    ratio = 1.5

    def half(self, x):
        return x / 2


class Net(Base):
    """A network of mine."""

    kind = Kind.SMALL
    feeds = (("hidden", "output"),)
    activation = staticmethod(lambda x: nnx.relu(x))

    def __init__(self, shape, classes, *, rngs, width=6):
        # Comments say nothing.
        super().__init__()
        self.hidden = nnx.Linear(shape[0], width + WIDTH, rngs=rngs)
        self.other = Neighbour(rngs)
        self.parts = [lambda x: x + 1, lambda x: x + 2]
        self.depth = SETTINGS.total() + len(TABLE)

    @property
    def size(self):
        return self.kind.factor()

    @twice
    def doubled(self, x):
        return x

    def __call__(self, x):
        from near import inside

        def nested(y):
            """Within."""
            return [helper(z) for z in y]

        x = block(half(x)) * MASK + CAUSAL + near.deep.scale
        return self.half(inside(compiled(nested(x)))) if even(4) else x
'''

NEAR = """
from near_too import CONSTANT
import near_deep as deep


def block(x):
    return x * CONSTANT


def scaled(x, by):
    return x * by


def inside(x):
    return x - 1


def aside(x):
    return x
"""
FILES = {"mine": NET, "near": NEAR, "near_too": "CONSTANT = 3\nOTHER = 4\n", "near_deep": "scale = 2\nother = 3\n"}


def read(folder, name="mine", part="Net", **files):
    """A part of files in a folder, as a fresh process would import it."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {**FILES, **files}
    for file, text in contents.items():
        (folder / f"{file}.py").write_text(text)
    for file in contents:
        sys.modules.pop(file, None)
    sys.path.insert(0, str(folder))
    try:
        module = types.ModuleType(name)
        module.__file__ = str(folder / f"{name}.py")
        sys.modules[name] = module
        exec(compile(contents[name], module.__file__, "exec"), vars(module))
        found = vars(module)[part]
        return code_digest(found)
    finally:
        sys.path.remove(str(folder))
        for file in contents:
            sys.modules.pop(file, None)


def edited(text, old, new):
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)


DIFFERENT = [
    ("a global number", "mine", "WIDTH = 5", "WIDTH = 6"),
    ("a number of another kind", "mine", "WIDTH = 5", "WIDTH = 5.0"),
    ("a nested value", "mine", "(3.0, None)", "(3.0, False)"),
    ("a set", "mine", "{4, 5}", "{4, 6}"),
    ("a list for a tuple", "mine", "(3.0, None)", "[3.0, None]"),
    ("an array", "mine", "np.ones((3, 3))", "np.ones((3, 3), np.float32)"),
    ("an array's values", "mine", "np.tril(np", "np.triu(np"),
    ("a jax array", "mine", "jnp.arange(4)", "jnp.arange(4) + 1"),
    ("a partial's option", "mine", "by=0.5", "by=0.25"),
    ("a partial's function", "mine", "near.scaled, by", "near.aside, by"),
    ("a member of an enum", "mine", "SMALL = 1", "SMALL = 3"),
    ("a method of an enum", "mine", "self.value * 2", "self.value * 3"),
    ("which member", "mine", "kind = Kind.SMALL", "kind = Kind.LARGE"),
    ("a field's default", "mine", "[3, 4]", "[3, 5]"),
    ("a method of a dataclass", "mine", "self.depth * 10", "self.depth * 11"),
    ("an instance", "mine", "Settings(depth=3)", "Settings(depth=4)"),
    ("a decorator's closure", "mine", "2 * function", "3 * function"),
    ("a decorator", "mine", "    @twice\n", ""),
    ("a default", "mine", "power=2", "power=3"),
    ("a keyword's default", "mine", "shift=0", "shift=1"),
    ("a helper", "mine", "x**power", "x*power"),
    ("a mutually recursive helper", "mine", "n != 0 and", "n != 1 and"),
    ("a compiled helper", "mine", "return x + 1\n\n\nclass", "return x + 2\n\n\nclass"),
    ("what a helper is compiled by", "mine", "@jax.jit\n", ""),
    ("a neighbour class", "mine", "nnx.Linear(2, 2", "nnx.Linear(2, 3"),
    ("a base", "mine", "return x / 2", "return x / 3"),
    ("a base's attribute", "mine", "ratio = 1.5", "ratio = 1.25"),
    ("a base of an installed package", "mine", "class Base(nnx.Module)", "class Base(nnx.Object)"),
    ("an attribute of the class", "mine", 'feeds = (("hidden", "output"),)', "feeds = ()"),
    ("a lambda", "mine", "lambda x: nnx.relu(x)", "lambda x: nnx.gelu(x)"),
    ("one of two lambdas", "mine", "lambda x: x + 2", "lambda x: x + 3"),
    ("the default width", "mine", "width=6", "width=7"),
    ("a property", "mine", "return self.kind.factor()", "return 1 + self.kind.factor()"),
    ("a nested function", "mine", "[helper(z) for z in y]", "[helper(z) for z in [y]]"),
    ("the body", "mine", "if even(4)", "if even(5)"),
    ("an imported module of another name", "mine", "import numpy as np", "import jax.numpy as np"),
    ("an imported function", "near", "x * CONSTANT", "x + CONSTANT"),
    ("what an imported function uses", "near_too", "CONSTANT = 3", "CONSTANT = 4"),
    ("an attribute of an imported module", "near", "x * by", "x + by"),
    ("an attribute of a module of a module", "near_deep", "scale = 2", "scale = 3"),
    ("what is imported within a function", "near", "x - 1", "x - 2"),
    ("a method more", "mine", "    @property\n", "    def more(self):\n        return 1\n\n    @property\n"),
    ("a name of the class", "mine", "class Neighbour", "Neighbor = 1\nclass Neighbour"),
]
DIFFERENT = DIFFERENT[:-1]

SAME = [
    ("a comment", "mine", "# Comments say nothing.", "# Comments say something else, at length."),
    ("a comment less", "mine", "        # Comments say nothing.\n", ""),
    ("the docstring of the class", "mine", "A network of mine.", "A network of ours."),
    ("no docstring of the class", "mine", '    """A network of mine."""\n', ""),
    ("the docstring of the file", "mine", '"""A network."""\n', ""),
    ("a helper's docstring", "mine", '"""Help."""', '"""Help, help."""'),
    ("no docstring of a helper", "mine", '    """Help."""\n', ""),
    ("a nested docstring", "mine", '            """Within."""\n', ""),
    ("a dataclass's docstring", "mine", '    """Settings."""\n', ""),
    ("an unrelated function", "mine", "def unrelated(x):\n    return x", "def unrelated(x):\n    return -x"),
    ("an unrelated function less", "mine", "def unrelated(x):\n    return x\n", ""),
    ("lines before", "mine", "WIDTH = 5", "\n\n\nWIDTH = 5"),
    (
        "formatting",
        "mine",
        "nnx.Linear(shape[0], width + WIDTH, rngs=rngs)",
        "nnx.Linear(\n    shape[0],\n    (width+WIDTH),\n    rngs=rngs,\n)",
    ),
    ("quotes", "mine", '"hidden", "output"', "'hidden', 'output'"),
    ("how a number is written", "mine", "WIDTH = 5", "WIDTH = 0x5"),
    ("how it is computed", "mine", "WIDTH = 5", "WIDTH = 2 + 3"),
    ("the order of a set", "mine", "{4, 5}", "{5, 4}"),
    ("an unused function of a neighbour", "near", "def aside(x):\n    return x", "def aside(x):\n    return -x"),
    ("an unused value of a neighbour", "near_too", "OTHER = 4", "OTHER = 5"),
    ("an unused attribute of a module", "near_deep", "other = 3", "other = 4"),
    ("an unused import", "mine", "import enum\n", "import enum\nimport json\n"),
    (
        "the order of methods",
        "mine",
        "    ratio = 1.5\n\n    def half(self, x):\n        return x / 2\n",
        "    def half(self, x):\n        return x / 2\n\n    ratio = 1.5\n",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def original(folder):
    return read(folder / "original")


@pytest.mark.parametrize(("what", "file", "old", "new"), DIFFERENT, ids=[case[0] for case in DIFFERENT])
def test_what_changes_a_part_makes_it_another(folder, original, what, file, old, new):
    assert read(folder / "other" / str(abs(hash(what))), **{file: edited(FILES[file], old, new)}) != original


@pytest.mark.parametrize(("what", "file", "old", "new"), SAME, ids=[case[0] for case in SAME])
def test_what_does_not_change_a_part_leaves_it_what_it_is(folder, original, what, file, old, new):
    assert read(folder / "same" / str(abs(hash(what))), **{file: edited(FILES[file], old, new)}) == original


def test_no_two_changes_are_the_same(folder):
    found = [
        read(folder / "each" / str(place), **{file: edited(FILES[file], old, new)}) for place, (_, file, old, new) in enumerate(DIFFERENT)
    ]
    assert len(set(found)) == len(found)


def test_places_and_names_of_files_say_nothing(folder, original):
    assert read(folder / "deep" / "down") == original
    assert read(folder / "renamed", name="ours", ours=NET) == original


SHUFFLED = [
    part
    for part in ast.parse(NET).body
    if isinstance(part, ast.FunctionDef) and part.name in ("helper", "even", "odd", "unrelated", "twice")
]


@pytest.mark.slow
@given(st.permutations(range(len(SHUFFLED))), st.lists(st.sampled_from(SAME[:13]), unique_by=lambda case: case[0]))
def test_any_order_of_functions_and_any_harmless_edits(tmp_path_factory, order, edits):
    folder, text = tmp_path_factory.mktemp("shuffled"), NET
    parts = [f"\n\n{ast.get_source_segment(NET, part)}\n" for part in SHUFFLED]
    for part in parts:
        text = edited(text, part, "")
    text = edited(text, "\n\n@jax.jit", "".join(parts[place] for place in order) + "\n\n@jax.jit")
    for _, file, old, new in edits:
        if file == "mine" and text.count(old) == 1:
            text = text.replace(old, new)
    assert read(folder, mine=text) == read(folder / "original")


@pytest.mark.slow
def test_another_process_and_version_of_python_say_the_same(folder):
    """Strings are hashed anew in each process; other versions of Python are asked where there are some."""
    plain = (
        NET[: NET.index("class Neighbour")]
        .replace("import jax\n", "")
        .replace("import jax.numpy as jnp\n", "")
        .replace("import numpy as np\n", "")
    )
    for old, new in (
        ("from flax import nnx\n", ""),
        ("MASK = np.tril(np.ones((3, 3)))\n", ""),
        ("CAUSAL = jnp.arange(4)\n", ""),
        ("@jax.jit\n", ""),
    ):
        plain = edited(plain, old, new)
    plain += """
class Net:
    kind = Kind.LARGE
    def go(self, x: int) -> int:
        return f'{helper(x)!r:>{WIDTH}}', half, SETTINGS, TABLE, even, block(x)
"""
    digest = read(folder / "plain", mine=plain)
    code = "import mine; from tombola.core.identity import code_digest; print(code_digest(mine.Net))"
    source = str(Path(code_digest.__globals__["__file__"]).parents[2])
    found = set()
    for python in (sys.executable, "python3.12", "python3.13", "python3.14"):
        for seed in ("1", "2"):
            try:
                answer = subprocess.run(
                    [python, "-c", code],
                    capture_output=True,
                    text=True,
                    cwd=folder / "plain",
                    env={"PYTHONPATH": source, "PYTHONHASHSEED": seed, "PATH": "/usr/bin:/root/.pyenv/shims"},
                )
            except OSError:
                continue
            if python == sys.executable or answer.returncode == 0:
                found.add(answer.stdout.strip() or answer.stderr)
    assert found == {digest}


# -- classes that stand in no file ------------------------------------------------------------------------------------


def make(width, activation=nnx.relu):
    class Net(nnx.Module):
        def __init__(self, shape, classes, *, rngs):
            self.hidden = nnx.Linear(shape[0], width, rngs=rngs)
            self.output = nnx.Linear(width, classes, rngs=rngs)

        def __call__(self, x):
            return self.output(activation(self.hidden(x)))

    return Net


def test_a_class_made_in_a_function_is_told_by_what_it_closes_over():
    assert code_digest(make(8)) == code_digest(make(8)) != code_digest(make(64))
    assert code_digest(make(8, nnx.gelu)) != code_digest(make(8))
    assert code_digest(make(8, lambda x: x)) == code_digest(make(8, lambda x: x))
    assert code_digest(make(8, lambda x: x)) != code_digest(make(8, lambda x: -x))


def test_a_class_made_by_type_is_told_by_its_attributes():
    def made(width, **others):
        return type("Net", (nnx.Module,), {"width": width, "__call__": lambda self, x: x * self.width, **others})

    assert code_digest(made(8)) == code_digest(made(8)) != code_digest(made(64))
    assert code_digest(made(8, more=1)) != code_digest(made(8))
    late = made(8)
    before = code_digest(late)
    late.width = 9
    assert code_digest(late) != before
    assert code_digest(dataclasses.make_dataclass("D", [("a", int, 1)])) != code_digest(dataclasses.make_dataclass("D", [("a", int, 2)]))


def typed(text, known):
    """Code as typed at a prompt: in a cell that can be read again, or not."""
    scope = {"__name__": "__main__", "nnx": nnx}
    name = f"<cell {random.random()}>"
    if known:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), scope)
    return scope


CELL = '''
WIDTH = {width}
def helper(x):
    """{doc}"""
    return x * WIDTH
class Net(nnx.Module):
    def __call__(self, x):
        return {sign}helper(x)
'''


@pytest.mark.parametrize("known", [True, False], ids=["a cell", "a prompt"])
def test_a_class_typed_in(known):
    def digest(width=8, sign="", doc="Help."):
        return code_digest(typed(CELL.format(width=width, sign=sign, doc=doc), known)["Net"])

    assert digest() == digest() == digest(doc="Help, help.") != digest(width=64)
    assert digest() != digest(sign="-")


def test_a_global_that_is_changed_later_makes_another_part():
    scope = typed(CELL.format(width=8, sign="", doc=""), True)
    before = code_digest(scope["Net"])
    scope["WIDTH"] = 64
    assert code_digest(scope["Net"]) != before
    scope["WIDTH"] = 8
    assert code_digest(scope["Net"]) == before
    scope["helper"] = lambda x: x
    assert code_digest(scope["Net"]) != before


def test_one_object_or_two_equal_ones_are_the_same():
    one = [1, 2]
    shared, apart = (one, one), ([1, 2], [1, 2])
    assert code_digest(lambda: None, "x") == code_digest(lambda: None, "x")
    assert code_digest(functools.partial(print, shared)) == code_digest(functools.partial(print, apart))
    loop: list = [1]
    loop.append(loop)
    longer: list = [1, [1]]
    longer[1].append(longer)
    assert code_digest(functools.partial(print, loop)) == code_digest(functools.partial(print, longer))  # both unroll to the same
    loop.append(2)
    assert code_digest(functools.partial(print, loop)) != code_digest(functools.partial(print, longer))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(st.integers()),
    max_leaves=8,
)


def written(value):
    """A plain value as text that tells any two apart."""
    if isinstance(value, frozenset):
        return f"frozenset{sorted(value)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(written, value))})"
    if isinstance(value, dict):
        return f"dict({', '.join(f'{key!r}: {written(one)}' for key, one in value.items())})"
    return f"{type(value).__name__} {value!r}"


@pytest.mark.slow
@given(PLAIN, PLAIN)
def test_plain_values_are_told_apart_exactly(one, other):
    first, second = (code_digest(functools.partial(print, value)) for value in (one, other))
    assert (first == second) == (written(one) == written(other))


@given(st.integers(0, 4), st.sampled_from(["f4", "f8", "i4", "u1", "?"]), st.integers(0, 2**32 - 1))
def test_arrays_are_told_apart_by_shape_dtype_and_values(size, dtype, seed):
    values = np.random.default_rng(seed).integers(0, 2, (size, 2)).astype(dtype)

    def digest(array):
        return code_digest(functools.partial(print, array))

    assert digest(values) == digest(values.copy()) == digest(np.asfortranarray(values))
    assert digest(values) != digest(values.reshape(2, size)) or size == 2
    assert digest(values) != digest(values.astype("f2"))
    if size:
        other = values.copy()
        other[0, 0] = 1 - other[0, 0]
        assert digest(other) != digest(values)


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, initial, final):
        return final * self.by


class Kind(enum.Enum):
    A = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    kind: Kind = Kind.A
    sizes: tuple = (1, 2)
    dtype: type = jnp.bfloat16


@jax.custom_jvp
def odd_gradient(x):
    return x


@odd_gradient.defjvp
def _jvp(primals, tangents):
    return primals[0], tangents[0] * 2


TOLD = [
    Scale(2),
    Scale(np.ones(3)).__call__,
    functools.partial(make, 8),
    functools.lru_cache(make),
    jax.jit(make),
    Settings(),
    Settings(dtype=jnp.float16),
    odd_gradient,
    nnx.relu,
    jnp.sin,
    jnp.add,
    np.exp,
    nnx.initializers.glorot_normal(),
    nnx.initializers.variance_scaling(2.0, "fan_in", "normal"),
    nnx.initializers.variance_scaling(1.0, "fan_in", "normal"),
    jnp.bfloat16,
    np.dtype("float16"),
    np.int64(3),
    jax.random.key(0),
    jax.random.key(1),
    jax.jit(jax.grad(lambda x: x**2)),
    jax.vmap(lambda x: x, in_axes=1),
    jax.vmap(lambda x: x, in_axes=0),
    Path("a/b"),
    range(3),
    slice(1, 2),
    len,
    str.upper,
    nnx.Linear,
]


@pytest.mark.parametrize("part", TOLD, ids=[str(place) for place in range(len(TOLD))])
def test_many_kinds_of_objects_are_told(part):
    assert len(code_digest(part, "part")) == 16 == len({*map(int, code_digest(part, "part"), [16] * 16)} | set(range(16)))
    assert code_digest(part, "part") == code_digest(part, "part")


def test_no_two_of_them_are_alike():
    assert len({code_digest(part, "part") for part in TOLD}) == len(TOLD)


def generator():
    yield 1


def uses(thing):
    def criterion(initial, final):
        return thing

    return criterion


@pytest.mark.parametrize(
    "thing",
    [
        generator(),
        np.random.default_rng(0),
        threading.Lock(),
        nnx.Rngs(0),
        nnx.Linear(2, 2, rngs=nnx.Rngs(0)),
        make(2)((2,), 2, rngs=nnx.Rngs(0)),
        sys.stderr,
        memoryview(b"a"),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_what_cannot_be_told_is_refused_in_one_line(thing):
    with pytest.raises(
        TombolaError, match=r"criterion cannot be told from others: it uses criterion\.thing, an object of .*; make it inside"
    ) as caught:
        code_digest(uses(thing))
    assert "\n" not in str(caught.value)
    with pytest.raises(TombolaError, match=r"uses criterion\.thing\['a'\]"):
        code_digest(uses({"a": thing}))


def test_a_function_that_evaluates_text_is_refused():
    def criterion(initial, final):
        return eval("initial")

    with pytest.raises(TombolaError, match=r"criterion calls eval\(\)"):
        code_digest(criterion)


OUTSIDE = """
import gzip, importlib, io, json, os, random, sys, time
from os import environ
from pathlib import Path
import numpy as np
PATH = Path("cfg.json")
def within():
    import importlib.util
    import numpy.random
    from json import load as read
    import pandas as pd
    return lambda: (importlib.import_module("x"), numpy.random.rand(), read, pd.read_csv("x"))
def part():
    return {}
"""
"""A user's file, with what one of its functions gives left open."""


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        ("json.load(open('cfg.json'))", "json.load"),
        ("open('cfg.json').read()", "open"),
        ("[int(environ['W']) for _ in 'ab']", "environ"),
        ("lambda: os.environ['W']", "os.environ"),
        ("os.getenv('W')", "os.getenv"),
        ("sys.modules['__main__'].W", "sys.modules"),
        ("sys.argv[1]", "sys.argv"),
        ("np.load('w.npz')", "np.load"),
        ("gzip.open('w')", "gzip.open"),
        ("random.random()", "random.random"),
        ("np.random.normal()", "np.random.normal"),
        ("time.time()", "time.time"),
        ("Path('cfg.json').read_text()", "read_text"),
        ("PATH.read_bytes()", "read_bytes"),
        ("Path('cfg.json').open()", "open"),
        ("PATH.open()", "open"),
        ("within()", "importlib.import_module"),
    ],
)
def test_what_comes_from_outside_of_the_code_is_refused_in_one_line(gives, told):
    """Another width from a file, the environment or a module found by name would be taken for the same network."""
    part = typed(OUTSIDE.format(gives), True)["part"]
    with pytest.raises(
        TombolaError, match=rf"criterion cannot be told from others: \w+ uses {told}, .* or make it an option of criterion$"
    ) as caught:
        code_digest(part, "criterion")
    assert "\n" not in str(caught.value)


def test_imports_within_a_function_are_followed_and_not_made():
    found, _ = taken_from_outside(typed(OUTSIDE.format(0), True)["within"], {})
    assert found == ["importlib.import_module", "numpy.random.rand", "pd.read_csv", "read"]
    assert "pandas" not in sys.modules or imports_bound(typed(OUTSIDE.format(0), True)["within"].__code__)["pd"] == ("pandas", [])


def test_what_is_handed_over_from_outside_is_told_or_refused():
    for value in (os.environ, functools.partial(open, "cfg.json")):
        with pytest.raises(TombolaError, match=r"it uses criterion\.thing.*, which may give something else"):
            code_digest(uses(value))
    file, width = OUTSIDE.replace("Path(", "os.environ and Path("), "len(PATH.name), PATH.stem"  # read where the file is loaded
    assert code_digest(typed(file.format(width), True)["part"]) != code_digest(
        typed(file.format(width).replace("cfg", "gfc"), True)["part"]
    )


@pytest.mark.parametrize(
    "gives",
    [
        *(
            "json.loads('3')",
            "io.BytesIO()",
            "os.path.join('a', 'b')",
            "np.random.default_rng(0)",
            "random.Random(0)",
            "time.perf_counter()",
        ),
        *("sys.version_info", "np.save('w', 1)", "PATH.write_text('a')", "type(PATH).stem", "(np.random.seed(0), np.random.normal())"),
    ],
)
def test_what_reads_nothing_is_not_refused(gives):
    assert len(code_digest(typed(OUTSIDE.format(gives), True)["part"])) == 16


def test_a_method_that_nothing_calls_may_read_a_file():
    """As a network's own `load` does, which its training never meets."""

    def network(gives, base):
        load = "    @classmethod\n    def load(cls, x):\n        return np.load(x)\n"
        net = f"class Base:\n    {base}\nclass Net(Base):\n    def __call__(self, x):\n        return {gives}\n{load}"
        return typed(OUTSIDE.format(0) + net, True)["Net"]

    assert len(code_digest(network("x", "pass"))) == 16
    for called in (network("self.load(x)", "pass"), network("x", "load = None")):
        with pytest.raises(TombolaError, match=r"Net\.load uses np\.load, .* or make it an option of Net"):
            code_digest(called)


def test_an_edit_after_the_import_does_not_change_what_runs(tmp_path):
    """The process goes on with what it has read, and so does the digest."""
    file = tmp_path / "edited.py"
    text = "def one(x):\n    return x\n\n\ndef two(x):\n    return -x\n"
    file.write_text(text)
    scope = {"__name__": "edited"}
    exec(compile(text, str(file), "exec"), scope)
    before = code_digest(scope["one"])
    file.write_text("# moved\n\n" + text.replace("return x", "return 2 * x"))
    linecache.checkcache(str(file))
    assert code_digest(scope["one"]) == before
    fresh = {"__name__": "edited"}
    exec(compile(text, str(file), "exec"), fresh)
    assert code_digest(fresh["two"]) == code_digest(scope["two"])  # found where it stands now


def test_sources_are_those_of_the_users_code(folder):
    (folder / "sources").mkdir()
    text = (
        "from flax import nnx\ndef helper(x):\n    return x\nclass Net(nnx.Module):\n    def __call__(self, x):\n        return helper(x)\n"
    )
    file = folder / "sources" / "net.py"
    file.write_text(text)
    scope = {"__name__": "net_of_sources"}
    exec(compile(text, str(file), "exec"), scope)
    assert sources(scope["Net"]) == [text]
    assert sources(nnx.Linear) == []


def test_wrapped_functions_of_other_packages_are_the_users_own():
    def wrapper(by):
        @functools.wraps(jnp.sin)
        def inner(x):
            return jnp.sin(x) * by

        return inner

    assert code_digest(wrapper(1)) != code_digest(wrapper(2))


def test_text_is_dedented_alike():
    """A function within a function, and the same at the top."""
    inner = typed(textwrap.dedent("def f():\n    def g(x):\n        return x + 1\n    return g\ng = f()\n"), True)["g"]
    outer = typed("def g(x):\n    return x + 1\n", True)["g"]
    assert code_digest(inner) == code_digest(outer)


def test_the_list_of_installed_packages_is_read_once_and_not_for_tombolas_own(monkeypatch):
    """Every finished run asks for the code of its objective; the list takes half a second."""
    from tombola.core import origins
    from tombola.objectives import Regression

    asked = []
    monkeypatch.setattr(origins, "_distributions", functools.cache(lambda: asked.append(1) or {"hypothesis": ["hypothesis"]}))
    assert sources(Regression) == []
    assert (origins.release("tombola.objectives"), origins.release("json.decoder"), asked) == ([], [], [])
    assert origins.release("hypothesis.strategies")[0].startswith("hypothesis 6.")
    assert origins.release("hypothesis") == origins.release("hypothesis.strategies")
    assert asked == [1]
