"""What is done in C on a CPU is what XLA does there, up to rounding; and all is done without a compiler too."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tombola.core.task import Recipe
from tombola.kernels import adam, convolution, native, sparse
from tombola.kernels.rows import rows
from tombola.training import optimizers

pytestmark = pytest.mark.usefixtures("optimized")

RANDOM = np.random.default_rng(3)
SHAPES = {"hidden/kernel": (37, 21), "hidden/bias": (21,), "conv/kernel": (3, 3, 5, 7), "one": ()}
needs_compiler = pytest.mark.skipif(not adam.available({}), reason="needs a C compiler")


def drawn(shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


# -- Adam --------------------------------------------------------------------------------------------------------------


def steps(recipe, in_c, weights, mask, gradients):
    """The weights and moments after as many steps as there are gradients, at a rate that changes."""
    moments = optimizers.transformation(recipe).init(weights)
    step = jax.jit(lambda g, m, w, rate: optimizers.step(recipe, g, m, w, mask, rate, in_c=in_c))
    for t, gradient in enumerate(gradients):
        weights, moments = step(gradient, moments, weights, recipe.learning_rate / (1 + t))
    return weights, moments


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_in_c_is_that_of_optax(optimizer, decay, monkeypatch):
    recipe = Recipe(steps="9it", batch=1, learning_rate=0.01, optimizer=optimizer, weight_decay=decay)
    weights = {path: drawn(shape) for path, shape in SHAPES.items()}
    mask = {path: RANDOM.random(SHAPES[path]) < 0.5 for path in ("hidden/kernel", "conv/kernel")}
    gradients = [{path: drawn(shape) for path, shape in SHAPES.items()} for _ in range(9)]
    calls, step = [], adam.step
    monkeypatch.setattr(adam, "step", lambda *given, **options: calls.append(options) or step(*given, **options))
    (found, moments), (wanted, its) = (steps(recipe, in_c, weights, mask, gradients) for in_c in (True, False))
    assert calls == [{"l2" if optimizer == "adam" else "decay": decay}]  # once, when it is compiled; and not for Optax
    assert jax.tree.structure(moments) == jax.tree.structure(its)
    for one, other in zip(jax.tree.leaves((found, moments)), jax.tree.leaves((wanted, its)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for path, kept in mask.items():
        assert np.array_equal(found[path][~kept], weights[path][~kept])
        assert not np.any(found[path][kept] == weights[path][kept])
    assert not np.any(found["hidden/bias"] == weights["hidden/bias"])


def test_adam_in_c_is_for_float32():
    assert not adam.available({"a": jnp.zeros(3, jnp.bfloat16), "b": jnp.zeros(3)})


@needs_compiler
def test_the_constants_of_adam_are_those_of_optax():
    weights, gradient = {"a": jnp.array([2.0, -1.0])}, {"a": jnp.array([1e-3, 5.0])}
    update, _ = optax.scale_by_adam().update(gradient, optax.scale_by_adam().init(weights))
    found, _ = adam.step(gradient, optax.scale_by_adam().init(weights), weights, {}, 0.5)
    np.testing.assert_allclose(found["a"], weights["a"] - 0.5 * update["a"], rtol=1e-6)


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int32, np.float16])
@pytest.mark.parametrize("shape", [(9, 40), (9, 5, 4, 3), (9, 3), (9,)], ids=str)
def test_rows_are_those_of_the_table(dtype, shape):
    table = RANDOM.integers(0, 255, shape).astype(dtype)
    indices = np.array([3, 0, 8, 3, 8], np.int32)
    found = jax.jit(lambda table, indices: rows(table, indices, in_c=True))(table, indices)
    assert found.dtype == dtype
    assert np.array_equal(found, table[indices])


@needs_compiler
def test_rows_are_copied_in_c_where_that_is_worth_it():
    def calls(table, in_c=True):
        return str(jax.make_jaxpr(lambda table: rows(table, jnp.arange(2), in_c))(table)).count("ffi_call")

    assert calls(np.zeros((4, 100), np.float32)) == 1
    assert calls(np.zeros((4, 100), np.float32), in_c=False) == 0
    assert calls(np.zeros((4, 3), np.float32)) == 0
    assert calls(np.zeros((4, 100), np.float16)) == 0


# -- the compiler ------------------------------------------------------------------------------------------------------

TRAINED = """
import tombola as tb
from tombola.kernels import native
from tombola.core.task import Data, Model, Recipe, Task

recipe = Recipe(steps="12it", batch=50, learning_rate=0.01, evaluate_every="6it")
run = tb.train(Task(data=Data(name="digits"), model=Model(name="mlp", options={"widths": [9, 8]}), recipe=recipe), seed=4)
print([name.partition("-")[0] for name in sorted(path.name for path in (native.cache_folder() / "kernels").glob("*.so"))])
print(*run.metrics["val_loss"].ravel().tolist())
"""


def trained(environment):
    done = subprocess.run([sys.executable, "-c", TRAINED], env=environment, capture_output=True, text=True, check=True)
    made, losses = done.stdout.splitlines()
    return made, [float(loss) for loss in losses.split()]


@pytest.mark.slow
@needs_compiler
def test_training_needs_no_compiler(tmp_path, monkeypatch):
    found = {}
    there = os.environ.get("CC") or "cc"
    for compiler in (there, "no-such-compiler"):
        monkeypatch.setenv("CC", compiler)
        monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / Path(compiler).name))
        found[compiler] = trained(dict(os.environ))
    assert found[there][0] == "['adam', 'rows']"
    assert found["no-such-compiler"][0] == "[]"
    np.testing.assert_allclose(found[there][1], found["no-such-compiler"][1], rtol=1e-4)
    assert len(found[there][1]) == 3


@pytest.mark.skipif(shutil.which(os.environ.get("CC") or "cc") is None, reason="needs a C compiler")
def test_where_there_is_a_compiler_every_source_compiles():
    """Without this, tests of what is in C would be skipped where it does not compile."""
    table = jnp.zeros((4, 100))
    assert "ffi_call" in str(jax.make_jaxpr(lambda table: rows(table, jnp.arange(2), True))(table))
    assert all((adam.available({}), convolution.available(), sparse.available()))


def test_a_source_with_an_error_is_as_no_compiler(tmp_path):
    (tmp_path / "wrong.c").write_text("int function( {")
    assert native.compiled(tmp_path / "wrong.c", tmp_path) is None


def test_a_source_that_changes_has_another_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))
    places = set()
    for number in range(2):
        (tmp_path / "mine.c").write_text(f"/* {number} */")
        places.add(native._kept(tmp_path / "mine.c"))
    assert len(places) == 2
    assert None not in places


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A kernel that was compiled and kept, in a cache of its own. A process registers a handler once: the one that it has stays."""
    assert adam.available({})
    assert native.available("rows")
    monkeypatch.setattr(native, "register", lambda library, *handlers: loads(library))
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))
    assert fresh()
    (library,) = (tmp_path / "cache" / "kernels").glob("*.so")
    return library


def loads(library):
    with contextlib.suppress(OSError):
        return bool(ctypes.CDLL(str(library)))
    return False


def fresh():
    """What a new process would be told of the kernel `rows`."""
    return native.available.__wrapped__("rows")


def compiles(monkeypatch):
    calls, there = [], native.compiled
    monkeypatch.setattr(native, "compiled", lambda *given: calls.append(given) or there(*given))
    return calls


@needs_compiler
def test_a_kept_kernel_is_not_compiled_again(kept, monkeypatch):
    calls = compiles(monkeypatch)
    assert fresh()
    assert not calls
    assert kept.parent.stat().st_mode & 0o022 == 0


DAMAGE = {
    "empty": lambda library: library.write_bytes(b""),
    "cut": lambda library: library.write_bytes(library.read_bytes()[:999]),
    "a byte": lambda library: library.write_bytes(library.read_bytes()[:-1] + bytes([library.read_bytes()[-1] ^ 1])),
    "foreign": lambda library: library.write_text("no library"),
    "no seal": lambda library: library.with_suffix(".sha256").unlink(),
    "text": lambda library: library.with_suffix(".sha256").write_bytes(b"\xff"),
    "gone": lambda library: library.unlink(),
    "a folder": lambda library: (library.unlink(), library.mkdir()),
    "others may write": lambda library: library.chmod(0o666),
}


@needs_compiler
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_kept_kernel_that_is_not_what_passed_is_compiled_again(damage, kept, monkeypatch):
    DAMAGE[damage](kept)
    calls = compiles(monkeypatch)
    assert fresh()
    assert len(calls) == 1


@needs_compiler
def test_a_cache_that_others_can_write_to_is_emptied_and_closed(kept, monkeypatch):
    kept.parent.chmod(0o777)
    (kept.parent / "planted.so").write_text("")
    calls = compiles(monkeypatch)
    assert fresh()
    assert len(calls) == 1
    assert {path.suffix for path in kept.parent.iterdir()} == {".so", ".sha256"}
    assert kept.parent.stat().st_mode & 0o022 == 0
    assert not (kept.parent / "planted.so").exists()


@needs_compiler
def test_a_cache_that_cannot_be_made_costs_time_alone(kept, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "file"))
    assert fresh()


WRONG = """
import sys
from pathlib import Path
from tombola.kernels import native

compiled, folder = native.compiled, Path(sys.argv[1])

def idle(source, made):
    handler = "XLA_FFI_Error *%s(XLA_FFI_CallFrame *frame) { asked_for_version(frame); return NULL; }"
    handlers = "".join(handler % name for name in native.KERNELS[source.stem])
    (folder / source.name).write_text(f'#include "native.h"\\n{handlers}')
    return compiled(folder / source.name, made)

native.compiled = idle
print([native.available(kernel) for kernel in native.KERNELS], len(list(native.cache_folder().rglob("*.so"))))
"""


@pytest.mark.slow
@needs_compiler
def test_a_kernel_that_computes_something_else_is_neither_used_nor_kept(tmp_path, monkeypatch):
    """As of a compiler that succeeds with wrong output: every handler answers success, and leaves what was there."""
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))
    done = subprocess.run([sys.executable, "-c", WRONG, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[False, False, False, False] 0"


@needs_compiler
@pytest.mark.parametrize("kernel", native.KERNELS)
def test_kernels_pass_their_trials(kernel):
    assert native.available(kernel)
    assert import_module(f"tombola.kernels.{kernel}").trial()
