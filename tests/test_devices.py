"""Training over several devices: the same as on one, for the replica axis bit for bit, for the batch axis up to rounding.

The devices are virtual ones of the CPU, whose number is fixed when JAX starts: for each number a process of its own
trains every case and writes what came out.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import conftest
import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from toy_networks import Small

import tombola as tb
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.training.cohort import setup, train_cohort
from tombola.training.inputs import inputs_of
from tombola.training.plan import Plan, plan
from tombola.training.program import NOTHING, compile_program
from tombola.training.replica import Replica
from tombola.training.replica_batch import Arrays, ReplicaBatch

pytestmark = pytest.mark.usefixtures("optimized")

SEVERAL = (2, pytest.param(8, marks=pytest.mark.slow))
"""With 2 there are fewer devices than replicas, and some replicas are left over; with 8 there are more, which share batches."""
END = 12


# 61 examples are divided by no number of devices.
DATA = Data(name="digits", train=200, validation=61, test=61)
RECIPE = Recipe(steps=f"{END}it", batch=40, learning_rate=0.1, optimizer="momentum", weight_decay=1e-3, evaluate_every="6it")
DENSE = Task(data=DATA, model=Model(name="mlp", options={"widths": [8, 6]}), recipe=RECIPE)
NORMED = DENSE.but(model=tb.model(Small))
NOISY = Task(data=DATA.but(augment="flip_crop"), model=tb.model(Small, dropout=0.5), recipe=RECIPE)


def digits(task, folder=None):
    """The task's data: for a convolution as images, on disk if `folder` is given."""
    whole = load(task.data.but(augment="none"))
    if task is DENSE:
        return whole
    found = {name: getattr(whole, name).reshape(-1, 8, 8, 1) for name in ("inputs", "test_inputs")}
    if folder is not None:
        for name, array in found.items():
            found[name] = np.memmap(folder / name, array.dtype, "w+", shape=array.shape)
            found[name][:] = array
    return replace(whole, **found)


def members(task, dataset, count):
    network = setup(task, dataset).network
    random = np.random.default_rng(0)
    mask = {path: random.random(network.shapes[path].shape) < 0.7 for path in network.prunable}
    return [Replica(seed, network.init(seed), mask, keep=frozenset({END // 2, END})) for seed in range(count)]


def mesh(rows, shares):
    devices = np.array(jax.devices()[: rows * shares])
    return Mesh(devices, ("replica",)) if shares == 1 else Mesh(devices.reshape(rows, shares), ("replica", "batch"))


def vmapped(replicas):
    """As on GPUs: all replicas at once, those of a device side by side."""
    rows = min(len(jax.devices()), replicas)
    return Plan(mesh(rows, 1), -(-replicas // rows), loop=True, evaluation_batch=60)


def split(rows, streamed=False, loop=False):
    """As on GPUs that are left over: `rows` replicas at once, and their batches over all devices."""
    rows = min(rows, len(jax.devices()))
    return Plan(mesh(rows, len(jax.devices()) // rows), 1, loop=loop, evaluation_batch=56, streamed=streamed)


CASES = {
    "dense": (DENSE, 5, lambda: None),
    "noisy": (NOISY, 3, lambda: None),
    "vmapped dense": (DENSE, 7, lambda: vmapped(7)),
    "vmapped normed": (NORMED, 3, lambda: vmapped(3)),
    "split dense": (DENSE, 3, lambda: split(2, loop=True)),
    "split normed": (NORMED, 1, lambda: split(1)),
    "split streamed": (NOISY, 1, lambda: split(1, streamed=True)),
}
"""Name -> task, number of replicas, layout (None: the plan of this machine)."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """From a number of devices to case -> name -> array, trained once each."""

    @cache
    def trained(count):
        folder = tmp_path_factory.mktemp(f"devices{count}")
        # The same number of threads for all: XLA's convolutions with few channels sum in an order that depends on it.
        # No optimisation of what runs once: a fifth of the time less than with level 1; and half of it without the newer emitters of loops.
        flags = f"--xla_force_host_platform_device_count={count} --xla_backend_optimization_level=0 {conftest.CHEAP}"
        environment = {**os.environ, "XLA_FLAGS": flags, "NPROC": "8"}
        script = "import pathlib, sys, test_devices; test_devices.write(pathlib.Path(sys.argv[1]))"
        command = [sys.executable, "-c", script, str(folder)]
        done = subprocess.run(command, env=environment, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (folder / "devices").read_text() == str(count)
        return {name: dict(np.load(folder / f"{name}.npz")) for name in CASES}

    return trained


def write(folder):
    """What the process of one number of devices does."""
    # Several unfinished programs with sums over devices can take all of XLA's threads on a CPU, and wait for ever.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    for name, (task, count, layout) in CASES.items():
        dataset = digits(task, folder if "streamed" in name else None)
        outcomes = train_cohort(task, dataset, members(task, dataset, count), layout=layout())
        np.savez(folder / f"{name}.npz", local=images_of_a_device(task, dataset, layout()), **dict(arrays(outcomes)))
    (folder / "devices").write_text(str(len(jax.devices())))


def arrays(outcomes):
    """(name, array) of all that came out."""
    for index, outcome in outcomes:
        yield f"{index}/rows", np.array(outcome.rows)
        yield f"{index}/summary", np.array(list(outcome.summary.values()))
        for step, weights in outcome.snapshots.items():
            yield from ((f"{index}/{step}/{path}", leaf) for path, leaf in weights.items())


def images_of_a_device(task, dataset, layout):
    """Examples of a batch that a device puts through the network, read off the compiled step; 0 if the batch is not to be split."""
    if layout is None or layout.shares == 1:
        return 0
    program = compile_program(setup(task, dataset), layout)
    batches = [inputs_of(array, layout) for array in (dataset.inputs, dataset.test_inputs)]
    wave = ReplicaBatch(task, END, setup(task, dataset), layout, (), Arrays(dataset, *batches), members(task, dataset, 1))
    wave._advance([1], [NOTHING])
    inputs = wave.arrays.pool.batch(wave._chosen(0), after=())
    weights, moments = wave.state.weights, wave.state.moments
    zero = np.int32(0)
    text = program.step.lower(zero, weights, moments, wave.state.mask, wave.fixed, wave._training(inputs)).compile().as_text()
    found = re.search(r"= f32\[(\d+),(8|8,8,4)\]\S* (dot|convolution)\(", text)  # the first layer
    return int(found[1])


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_a_network_that_is_stepped_can_be_tested_less_often_than_validated(count):
    task = NORMED.but(recipe=RECIPE.but(evaluate_every="2it", test_every="6it"))
    dataset = digits(task)
    for _, outcome in train_cohort(task, dataset, members(task, dataset, count)):
        assert [row[0] for row in outcome.rows] == [0, 2, 4, 6, 8, 10, 12]
        assert np.isfinite(np.array(outcome.rows)[:, :3]).all()
        assert [row[0] for row in outcome.rows if np.isfinite(row[3])] == [0, 6, 12]


# -- the replica axis ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("count", SEVERAL)
@pytest.mark.parametrize("case", ["dense", "noisy"])
def test_one_replica_a_device_is_bitwise_as_on_one_device(found, case, count):
    one, several = found(1)[case], found(count)[case]
    assert one.keys() == several.keys()
    assert [name for name in one if one[name].tobytes() != several[name].tobytes()] == []


@pytest.mark.parametrize("count", SEVERAL)
@pytest.mark.parametrize("case", ["vmapped dense", "vmapped normed"])
def test_replicas_side_by_side_differ_by_rounding(found, case, count):
    # With their number on a device, that of the batched products and sums changes, and with it the order of summation.
    close(found(1)[case], found(count)[case])


# -- the batch axis --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", SEVERAL)
@pytest.mark.parametrize("case", ["split dense", "split normed", "split streamed"])
def test_a_split_batch_is_the_whole_one_up_to_rounding(found, case, count):
    rows = 2 if case == "split dense" else 1
    assert found(count)[case]["local"] == (0 if rows == count else RECIPE.batch * rows // count)
    close(found(1)[case], found(count)[case])


def close(one, other):
    """Sums in another order: some 1e-7 of values of about 1 a step, 1e-6 after all of them. Another batch, draw or statistic is 1e-3."""
    assert one.keys() == other.keys()
    for name in one.keys() - {"local"}:
        np.testing.assert_allclose(other[name], one[name], rtol=1e-5, atol=1e-5, err_msg=name)
    first, last = f"0/{END // 2}/output/kernel", f"0/{END}/output/kernel"
    assert np.abs(one[last] - one[first]).max() > 1e-2  # it did train


# -- the plan --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    id: int
    platform: str
    process_index: int = 0


def layout_of(monkeypatch, devices, platform, *arguments, **options):
    monkeypatch.setattr(jax, "devices", lambda: [Device(index, platform) for index in range(devices)])
    layout = plan(*arguments, **options)
    return layout.mesh.devices.shape, layout.per_device


@pytest.mark.parametrize(
    ("devices", "replicas", "batch", "shape", "per_device"),
    [
        (8, 1, 1024, (1, 8), 1),
        (8, 3, 1024, (3, 2), 1),
        (8, 2, 192, (2, 3), 1),  # 4 would leave less than 64 a device
        (6, 1, 1024, (1, 4), 1),  # the most that divide the batch
        (8, 1, 60, (1,), 1),
        (8, 5, 1024, (5,), 1),
        (8, 8, 1024, (8,), 1),
        (8, 11, 1024, (8,), 2),
        (1, 1, 1024, (1,), 1),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_devices_that_are_left_over_share_batches(monkeypatch, streamed, devices, replicas, batch, shape, per_device):
    found = layout_of(monkeypatch, devices, "gpu", replicas, convolutional=True, streamed=streamed, batch=batch)
    assert found == (shape, 1 if streamed else per_device)


def test_batches_of_small_networks_and_on_cpus_stay_whole(monkeypatch):
    assert layout_of(monkeypatch, 8, "gpu", 1, convolutional=False, batch=1024) == ((1,), 1)
    assert layout_of(monkeypatch, 8, "gpu", 1, convolutional=True) == ((1,), 1)
    assert layout_of(monkeypatch, 8, "cpu", 1, convolutional=True, batch=1024) == ((1,), 1)


def test_evaluation_batches_are_split_evenly(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [Device(index, "gpu") for index in range(8)])
    layout = plan(1, convolutional=True, batch=1024)
    assert (layout.capacity, layout.shares, layout.evaluation_batch) == (1, 8, 504)
    assert plan(2, convolutional=True, batch=128).evaluation_batch == 500
