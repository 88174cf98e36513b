"""Every algorithm of a convolution gives what XLA's own does, with the same gradients."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import UNOPTIMIZED
from flax import nnx
from jax import lax
from jax.sharding import Mesh

from tombola.core.data_info import DataInfo
from tombola.core.files import cache_folder
from tombola.core.task import Model, Recipe
from tombola.kernels.convolution import ROWS, available, convolution
from tombola.models.computing import Computing
from tombola.models.nnx_network import NNXNetwork
from tombola.objectives import Classification
from tombola.training import convolutions
from tombola.training import plan as plans
from tombola.training.plan import Plan, plan
from tombola.training.setup import Setup

pytestmark = pytest.mark.usefixtures("optimized")

needs_compiler = pytest.mark.skipif(not available(), reason="needs a C compiler")
SANITIZERS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
ALGORITHMS = (pytest.param("native", marks=needs_compiler), "patch_gradients", "patches", "in_turn")
SHAPES = {
    "square": ((6, 8, 8, 5), (3, 3, 5, 5), 1, ((1, 1), (1, 1))),
    "more outputs": ((6, 8, 8, 2), (3, 3, 2, 7), 1, ((1, 1), (1, 1))),
    "fewer outputs": ((6, 8, 8, 7), (3, 3, 7, 2), 1, ((1, 1), (1, 1))),
    "strided": ((6, 9, 8, 5), (3, 3, 5, 4), 2, ((1, 1), (1, 1))),
    "one pixel": ((6, 8, 8, 5), (1, 1, 5, 3), 1, ((0, 0), (0, 0))),
    "one pixel, strided": ((6, 8, 8, 5), (1, 1, 5, 3), 2, ((0, 0), (0, 0))),
    "oblong": ((4, 7, 10, 4), (2, 5, 4, 3), 1, ((1, 0), (3, 1))),
    "no padding": ((4, 7, 10, 4), (3, 3, 4, 3), 1, "VALID"),
    "same": ((4, 7, 10, 4), (3, 3, 4, 3), 2, "SAME"),
    "several parts": ((6, 32, 32, 3), (3, 3, 3, 3), 1, ((1, 1), (1, 1))),
    "blocks of channels": ((3, 9, 13, 20), (3, 3, 20, 33), 1, ((1, 1), (1, 1))),
    "blocks of channels, strided": ((3, 9, 13, 17), (5, 3, 17, 16), 2, ((2, 2), (0, 1))),
    "small images": ((37, 3, 3, 6), (3, 3, 6, 18), 1, ((1, 1), (1, 1))),
    "a stride beyond the window": ((4, 9, 9, 5), (2, 2, 5, 3), 3, ((0, 0), (0, 0))),
    "a wide margin": ((4, 5, 5, 5), (3, 3, 5, 3), 1, ((2, 4), (3, 2))),
    "one image, other strides": ((1, 9, 8, 5), (3, 2, 5, 4), (2, 1), ((1, 1), (0, 1))),
    "wide strides": ((2, 11, 12, 3), (2, 3, 3, 5), (1, 3), ((0, 1), (2, 0))),
    "a margin beyond the image": ((2, 9, 1, 3), (2, 2, 3, 2), 3, ((3, 0), (3, 0))),
    "a prime batch": ((7, 32, 32, 3), (3, 3, 3, 4), 1, ((1, 1), (1, 1))),
}


def drawn(*shape):
    return jnp.asarray(np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape), jnp.float32)


@cache
def direct(shape, replicas=None):
    """XLA's own, which every algorithm is held against."""
    return out_and_gradients(lax.conv_general_dilated, SHAPES[shape], replicas)


def out_and_gradients(convolve, shape, replicas=None):
    images, kernel, stride, padding = shape
    strides = stride if isinstance(stride, tuple) else (stride, stride)
    lead = () if replicas is None else (replicas,)

    def one(x, w):
        out = convolve(x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.sum(jnp.sin(out)), out  # a gradient that differs from pixel to pixel

    function = jax.value_and_grad(one, argnums=(0, 1), has_aux=True)
    lifted = function if replicas is None else jax.vmap(function)
    (_, out), gradients = jax.jit(lifted)(drawn(*lead, *images), drawn(*lead, *kernel))
    return out, *gradients


def assert_close(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * float(jnp.abs(other).max()))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_algorithm_gives_the_same_sums_and_gradients(algorithm, shape):
    assert_close(out_and_gradients(convolution(algorithm), SHAPES[shape]), direct(shape))


@needs_compiler
@pytest.mark.parametrize("shape", ["strided", "blocks of channels, strided", "small images", "one image, other strides", "a prime batch"])
def test_any_number_of_threads_gives_the_same_bits(shape):
    alone = out_and_gradients(convolution("native"), SHAPES[shape])
    for threads in (2, 3, 100):
        for one, other in zip(out_and_gradients(convolution("native", threads), SHAPES[shape]), alone, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_works_over_replicas(algorithm):
    assert_close(out_and_gradients(convolution(algorithm), SHAPES["square"], 3), direct("square", 3))


def test_the_batch_is_taken_in_parts():
    images, *_ = SHAPES["several parts"]
    assert images[0] * images[1] * images[2] > ROWS
    program = str(jax.make_jaxpr(lambda: out_and_gradients(convolution("patch_gradients"), SHAPES["several parts"]))())
    assert "scan" in program


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"kernel_dilation": 2}, {"input_dilation": 2, "padding": 1}, {"feature_group_count": 2}, {"padding": "CIRCULAR"}],
    ids=str,
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_an_algorithm_does_not_know_goes_the_direct_way(algorithm, options):
    module = nnx.Conv(4, 6, (3, 3), rngs=nnx.Rngs(0), **options)
    images = drawn(2, 8, 8, 4)
    wanted = module(images)
    module.conv_general_dilated = convolution(algorithm)
    np.testing.assert_allclose(module(images), wanted, rtol=0, atol=1e-5)


def test_signals_of_one_dimension_go_the_direct_way():
    module = nnx.Conv(4, 6, (3,), rngs=nnx.Rngs(0))
    wanted = module(drawn(2, 8, 4))
    module.conv_general_dilated = convolution("patches")
    np.testing.assert_array_equal(module(drawn(2, 8, 4)), wanted)


PRIMITIVES = [
    ("direct", "feature_group_count=3"),
    pytest.param("native", "ffi_call", marks=needs_compiler),
    ("patches", "dot_general"),
    ("in_turn", "scan"),
]


@needs_compiler
@pytest.mark.parametrize(
    ("images", "padding", "dtype", "in_c"),
    [
        ((2, 5, 5, 3), ((1, 1), (1, 1)), jnp.float32, True),
        ((2, 5, 5, 3), ((-1, 1), (0, -1)), jnp.float32, False),  # which XLA gets wrong on a CPU
        ((2, 2, 2, 3), "VALID", jnp.float32, False),  # the window fits nowhere
        ((2, 5, 5, 3), "VALID", jnp.bfloat16, False),
    ],
    ids=["plain", "cut off", "nothing", "bfloat16"],
)
def test_what_goes_to_c(images, padding, dtype, in_c):
    def convolve(x, w):
        return convolution("native")(x, w, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    program = str(jax.make_jaxpr(convolve)(drawn(*images).astype(dtype), drawn(3, 3, 3, 4).astype(dtype)))
    assert ("ffi_call" in program) == in_c


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("flags", "word"), [("-mno-avx512f", "avx512f"), (SANITIZERS, "")], ids=["vectors of 8", "sanitizers"])
def test_other_compilers_give_the_same_sums(tmp_path, flags, word):
    """The same tests of what is in C, as another compiler makes it: with vectors of 8, where this processor has 16; less optimised, and
    stopped by any access that is out of bounds, or that C does not define."""
    listed, there = Path("/proc/cpuinfo"), os.environ.get("CC") or "cc"
    if word and (not listed.exists() or word not in listed.read_text()):
        pytest.skip(f"this processor has no {word}")
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec {there} "$@" {flags}\n')
    compiler.chmod(0o755)
    libraries = [_library(there, name) for name in ("libasan.so", "libstdc++.so.6")] if flags == SANITIZERS else []
    if not all(libraries):
        pytest.skip("this compiler has no address sanitizer that can be loaded before Python")
    files = [str(Path(__file__).with_name(name)) for name in ("test_convolution.py", "test_sparse_storage.py", "test_native.py")]
    which = "(native and same_sums) or (gradients_are_the_dense_ones and (70-33 or 5-1)) or (in_c_is_that and 0.1) or rows_are_those"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", which]
    programs = {"JAX_COMPILATION_CACHE_DIR": str(cache_folder() / "xla"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # the same
    loaded = {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"} if libraries else {}
    environment = os.environ | programs | loaded | {"CC": str(compiler), "TOMBOLA_CACHE": str(tmp_path / "cache"), UNOPTIMIZED: "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "cache" / "kernels").glob("*.so"))) == 4


def _library(compiler, name):
    """Where a compiler has a library; empty where it has none."""
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
    return found if Path(found).is_absolute() else ""


@pytest.mark.parametrize(("algorithm", "primitive"), PRIMITIVES)
def test_replicas_are_computed_as_the_algorithm_says(algorithm, primitive):
    convolve = convolution(algorithm)
    over_replicas = jax.vmap(lambda x, w: convolve(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
    assert primitive in str(jax.make_jaxpr(over_replicas)(drawn(3, 2, 8, 8, 4), drawn(3, 3, 3, 4, 4)))


def test_an_algorithm_leaves_what_is_not_nnx_own():
    calls = []

    class Mine(nnx.Module):
        def __init__(self, shape, classes, *, rngs):
            self.first = nnx.Conv(shape[-1], 4, (3, 3), rngs=rngs, conv_general_dilated=self.own)
            self.second = nnx.Conv(4, 4, (3, 3), rngs=rngs)
            self.output = nnx.Linear(4, classes, rngs=rngs)

        @staticmethod
        def own(*args, **options):
            calls.append(args)
            return lax.conv_general_dilated(*args, **options)

        def __call__(self, images):
            return self.output(self.second(self.first(images)).mean((1, 2)))

    network = NNXNetwork(lambda key: Mine((8, 8, 3), 10, rngs=nnx.Rngs(key)), DataInfo.of_classes((8, 8, 3), 10))
    calls.clear()
    program = jax.make_jaxpr(lambda w, x: network.apply(w, x, train=True, how=Computing("patches"))[0])(network.init(0), drawn(2, 8, 8, 3))
    assert len(calls) == 1
    assert str(program).count("conv_general_dilated[") == 1


@pytest.mark.parametrize(("compiler", "algorithm"), [(True, "native"), (False, "patch_gradients")])
def test_a_cpu_computes_in_c_or_from_patches(monkeypatch, compiler, algorithm):
    monkeypatch.setattr(plans, "available", lambda: compiler)
    assert plan(2, convolutional=True).algorithm == algorithm


@needs_compiler
def test_a_replica_that_trains_alone_has_all_cores(monkeypatch):
    monkeypatch.setattr(plans, "cores", lambda: 5)
    devices = len(jax.devices())
    assert [plan(count, convolutional=True).threads for count in (1, 2)] == [5, 5 // min(2, devices)]
    assert plan(1, convolutional=False).threads == 1


# -- the fastest, measured ---------------------------------------------------------------------------------------------


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path))
    convolutions.remembered.cache_clear()
    model = Model(name="conv2", options={"widths": [2, 2, 8, 8]})
    return Setup(
        model, Recipe(steps="1it", batch=4, learning_rate=0.1), Classification(), DataInfo((8, 8, 3), (10,)), train=8, augment="none"
    )


@pytest.mark.slow
def test_every_candidate_is_measured(found):
    seconds = convolutions.measured(found, 2)
    assert set(seconds) == set(convolutions.CANDIDATES)
    assert all(0 < value < float("inf") for value in seconds.values())


def test_the_fastest_algorithm_is_chosen_and_remembered(found, monkeypatch, tmp_path):
    query = []
    monkeypatch.setattr(
        convolutions, "measured", lambda *what: query.append(what) or {"direct": 2.0, "patches": 1.0, "in_turn": float("inf")}
    )
    assert convolutions.remembered(found, 2) == "patches"
    convolutions.remembered.cache_clear()  # another process
    assert convolutions.remembered(found, 2) == "patches"
    assert query == [(found, 2)]
    assert convolutions.remembered(found, 3) == "patches"  # other replicas, another question
    assert len(query) == 2
    for file in (tmp_path / "convolutions").iterdir():
        file.write_text("{")  # damaged: asked again
    convolutions.remembered.cache_clear()
    convolutions.remembered(found, 2)
    assert len(query) == 3


def test_a_choice_that_cannot_be_kept_is_no_error(found, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(convolutions, "measured", lambda *what: {"direct": 2.0, "patches": 1.0})
    assert convolutions.remembered(found, 2) == "patches"


def test_what_does_not_fit_the_memory_is_not_chosen(monkeypatch):
    def fails():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    assert convolutions._least_seconds(fails) == float("inf")


def test_only_replicas_that_share_a_gpu_need_a_measurement(found, monkeypatch):
    monkeypatch.setattr(convolutions, "remembered", lambda *what: "in_turn")
    mesh = Mesh(np.array(jax.devices()[:1]), ("replica",))
    shared = Plan(mesh, per_device=2, loop=True, evaluation_batch=10)
    assert convolutions.fastest(found, shared) == shared  # on a CPU

    class Gpu:
        platform = "gpu"

    gpu = SimpleNamespace(devices=np.array([Gpu()]))
    on_gpu = replace(shared, mesh=gpu)
    assert convolutions.fastest(found, on_gpu).algorithm == "in_turn"
    alone = replace(on_gpu, per_device=1)
    assert convolutions.fastest(found, alone) == alone
    dense = found._replace(model=Model(name="mlp"))
    assert convolutions.fastest(dense, on_gpu) == on_gpu
