"""TF32 as an option: operands rounded, forward and backward; float32 is float32 everywhere else."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tombola.api.train import train
from tombola.core import trees
from tombola.core.data_info import DataInfo
from tombola.core.task import Data, Model, Recipe, Task
from tombola.models.computing import Computing, tf32
from tombola.models.nnx_network import NNXNetwork
from tombola.training import sparse_storage
from tombola.training.setup import Setup

pytestmark = pytest.mark.usefixtures("optimized")

RANDOM = np.random.default_rng(5)


def drawn(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def rounded(array):
    """To 10 bits of mantissa, ties to even, by NumPy's own half precision: of numbers that it does not overflow."""
    exponent = np.exp2(np.floor(np.log2(np.abs(array))))
    return (array / exponent).astype(np.float16).astype(np.float32) * exponent


def test_operands_and_gradients_are_rounded_and_sums_are_not():
    left, right, out = drawn(4, 6), drawn(6, 3), drawn(4, 3)
    product, pull = jax.vjp(tf32(jnp.matmul), left, right)
    np.testing.assert_allclose(product, rounded(left) @ rounded(right), rtol=0, atol=1e-6)
    of_left, of_right = pull(out)
    np.testing.assert_allclose(of_left, rounded(out) @ rounded(right).T, rtol=0, atol=1e-6)
    np.testing.assert_allclose(of_right, rounded(left).T @ rounded(out), rtol=0, atol=1e-6)
    assert not np.allclose(product, left @ right, rtol=0, atol=1e-5)
    assert not np.array_equal(product, rounded(np.asarray(product)))


class Net(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.conv = nnx.Conv(shape[-1], 3, (3, 3), rngs=rngs)
        self.output = nnx.Linear(3 * shape[0] * shape[1], classes, rngs=rngs)

    def __call__(self, images):
        return self.output(self.conv(images).reshape(images.shape[0], -1))


@pytest.mark.parametrize("algorithm", ["direct", "patches", "patch_gradients"])
def test_convolutions_and_linear_layers_are_in_the_precision(algorithm):
    network = NNXNetwork(lambda key: Net((4, 4, 2), 5, rngs=nnx.Rngs(key)), DataInfo.of_classes((4, 4, 2), 5))
    weights, images = network.init(1), drawn(3, 4, 4, 2)
    whole, _ = network.apply(weights, images, train=False, how=Computing(algorithm))
    lower, _ = network.apply(weights, images, train=False, how=Computing(algorithm, "tf32"))
    by_hand = {path: rounded(leaf) if leaf.ndim > 1 else leaf for path, leaf in weights.items()}
    hidden = jax.lax.conv_general_dilated(
        rounded(images), by_hand["conv/kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    hidden = np.asarray(hidden + by_hand["conv/bias"]).reshape(3, -1)
    np.testing.assert_allclose(lower, rounded(hidden) @ by_hand["output/kernel"] + by_hand["output/bias"], rtol=0, atol=1e-4)
    assert not np.array_equal(whole, lower)


def digits(**recipe):
    common = {"steps": "40it", "batch": 60, "learning_rate": 1e-2, "evaluate_every": "40it"}
    return Task(data=Data(name="digits"), model=Model(name="mlp", options={"widths": [8, 6]}), recipe=Recipe(**(common | recipe)))


@pytest.mark.slow
def test_the_option_changes_training_and_the_run():
    plain, lower = digits(), digits(precision="tf32")
    assert plain.digest == digits(precision="float32").digest != lower.digest
    one, other = train(plain, 1), train(lower, 1)
    assert trees.equal(one.initial, other.initial)
    assert not trees.equal(one.final, other.final)
    np.testing.assert_allclose(one.metrics["val_loss"], other.metrics["val_loss"], rtol=0, atol=0.05)


def test_sparse_products_are_for_float32_alone(monkeypatch):
    monkeypatch.setattr(sparse_storage, "SMALLEST", 1)
    for recipe, packs in ((digits(steps="100000000it"), True), (digits(steps="100000000it", precision="tf32"), False)):
        found = Setup(recipe.model, recipe.recipe, recipe.objective, DataInfo((64,), (10,)), 1197, "none")
        assert sparse_storage.may_be_sparse(found, 10**8) == packs


FLOAT32 = """
import jax
from tombola.kernels.device import prepare
prepare()
print(jax.config.jax_default_matmul_precision)
"""


@pytest.mark.slow
@pytest.mark.parametrize("own", [{}, {"JAX_DEFAULT_MATMUL_PRECISION": "bfloat16"}])
def test_products_are_in_float32_on_every_platform_whatever_the_environment_says(own, monkeypatch):
    monkeypatch.delenv("JAX_DEFAULT_MATMUL_PRECISION", raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    assert subprocess.run([sys.executable, "-c", FLOAT32], capture_output=True, text=True, check=True).stdout.strip() == "float32"
