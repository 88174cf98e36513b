"""Initialisers, value actions that look at masks and data, matched masks, and the optimisers Sign-In and HAM."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.core.task import Data, Model, Recipe, Task
from tombola.engine.resolved import resolved
from tombola.engine.starts import materialise
from tombola.models.initializers import initializers, std
from tombola.procedures.actions import Context, mask_actions, value_actions
from tombola.procedures.run import Action, Run
from tombola.store.store import Store
from tombola.surgery.matching import match_activations
from tombola.surgery.permute import permute
from tombola.training import activations
from tombola.training.optimizers import transformation

RECIPE = Recipe(steps="20it", batch=30, learning_rate=0.01, optimizer="sgd", evaluate_every="20it")
TASK = Task(data=Data(name="digits"), model=Model(name="mlp", options={"widths": [12, 8]}), recipe=RECIPE)
IMAGES = np.random.default_rng(5).normal(size=(240, 8, 8, 1)).astype("float32")
CONV = Task(
    data=tb.from_arrays(IMAGES[:200], np.arange(200) % 3, IMAGES[200:], np.arange(40) % 3, validation=40),
    model=Model(name="conv2", options={"width": 4}),
    recipe=RECIPE,
)
KERNELS = ("hidden1/kernel", "hidden2/kernel", "output/kernel")


def start(kept, mask=None, task=TASK):
    """(mask, weights) that a run with these actions starts from."""
    return materialise(Run(task=task, seed=3, kept=kept, mask=mask), Store(), None)


@pytest.fixture(scope="module")
def network():
    return resolved(TASK, None)[0].network


@pytest.fixture(scope="module")
def initial(network):
    return network.init(3)


SPARSE = Action(name="sparse", options={"density": 0.3, "densities": "uniform"})

# -- initialisers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bound"), [("lecun_uniform", (3 / 400) ** 0.5), ("bimodal", None)])
def test_initialisers_have_their_spread(name, bound):
    drawn = np.asarray(initializers[name](jax.random.key(0), (400, 500)))
    assert drawn.std() == pytest.approx(std(initializers[name], (400, 500)), rel=0.01)
    assert abs(drawn.mean()) < 0.001
    if bound is not None:
        assert np.abs(drawn).max() == pytest.approx(bound, rel=0.001)
    else:  # the least magnitude is half the sigma of the normal that is cut, whose remaining std is 1.24 of it
        assert np.abs(drawn).min() == pytest.approx(0.5 / 1.2451 * drawn.std(), rel=0.01)


# -- values --------------------------------------------------------------------------------------------------------------


def test_signs_of_one_network_and_magnitudes_of_another(network, initial):
    other = {path: leaf - 0.5 for path, leaf in initial.items()}
    context = Context(network, 3)
    for rest, of in (("magnitudes", other), ("signs", initial)):
        found = value_actions["signs_of"](context, initial, other, rest=rest)
        for path in found:
            if path in KERNELS:
                assert (np.abs(found[path]) == np.abs(other[path])).all()
                assert (np.sign(found[path]) == np.where(initial[path] < 0, -1, 1)).all()
            else:
                assert (found[path] == of[path]).all()
    with pytest.raises(TombolaError, match="whose rest"):
        value_actions["signs_of"](context, initial, other, rest="both")


def test_fan_in_under_a_mask(initial):
    mask, found = start(Action(name="fan_in"), SPARSE)
    for path in KERNELS:
        kept = mask[path].sum(0)
        expected = initial[path] * mask[path] * np.sqrt(len(mask[path]) / np.maximum(kept, 1))
        assert found[path] == pytest.approx(expected, rel=1e-6)
    norms = (found[KERNELS[0]] ** 2).sum(0)
    assert norms.mean() == pytest.approx((initial[KERNELS[0]] ** 2).sum(0).mean(), rel=0.35)  # 0.3 of it without
    with pytest.raises(TombolaError, match="needs a mask"):
        value_actions["fan_in"](Context(resolved(TASK, None)[0].network, 0))


@pytest.mark.parametrize("density", [0.05, 0.3])
def test_givens_rotations_are_orthogonal_under_their_own_mask(density):
    options = {"density": density, "stream": "givens"}
    mask, found = start(Action(name="givens", options=options), Action(name="givens", options=options))
    for path in KERNELS:
        leaf = found[path] / np.sqrt(2)
        gram = leaf @ leaf.T if leaf.shape[0] <= leaf.shape[1] else leaf.T @ leaf
        assert gram == pytest.approx(np.eye(len(gram)), abs=1e-6)
        least = max(density, 1 / max(leaf.shape))
        assert least <= mask[path].mean() < least + 0.2
        assert ((leaf != 0) == mask[path]).all()
    for wrong in (dict(options, stream="other"), dict(options, density=density / 2)):
        if wrong["stream"] == "other":
            with pytest.raises(TombolaError, match="under its own mask"):
                start(Action(name="givens", options=options), Action(name="givens", options=wrong))
    with pytest.raises(TombolaError, match="no matrix"):
        start(None, Action(name="givens", options=options), CONV)
    with pytest.raises(TombolaError, match="density"):
        start(None, Action(name="givens", options={**options, "density": 0}))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "mask"), [(TASK, None), (CONV, SPARSE)], ids=["mlp", "conv"])
def test_lsuv_gives_layers_unit_variance(task, mask):
    _, found = start(Action(name="lsuv", options={"size": 200}), mask, task)
    seen = activations.on_training_examples(task, None, 3, found, size=200)
    for layer in seen.values():
        assert layer.outputs.var() == pytest.approx(1, abs=0.025)


@pytest.mark.slow
def test_metainit_and_gradinit_find_scales(network, initial):
    def slopes(what, seed, *trees, **_):  # of the loss sum over kernels of c/2 |w|^2, so H = c; of a product the vector is the last
        return {path: curvature.get(path, 0.0) * leaf for path, leaf in trees[-1].items()}

    curvature = dict.fromkeys(KERNELS, 1.0)
    context = Context(network, 3, slopes=slopes)
    # the loss after a step falls as all kernels shrink; the gradient's norm is below 1 x sqrt(n), so that it is never the aim
    found = value_actions["gradinit"](context, steps=10, rate=0.1, norm=1e9)
    for path in KERNELS:
        assert found[path] == pytest.approx(initial[path] * np.exp(-0.1 * sum(1 - step / 10 for step in range(10))), rel=1e-5)
    # a step of 10 goes far beyond the minimum, to where a larger kernel has less loss
    found = value_actions["gradinit"](context, steps=10, rate=0.1, norm=1e9, step_size=10.0)
    assert (found[KERNELS[0]] / initial[KERNELS[0]] > 1.5).all()
    # a negative curvature makes the loss fall as a kernel grows; under the constraint its gradient shrinks all the same
    curvature[KERNELS[1]] = -1.0
    ratio = {
        norm: value_actions["gradinit"](context, steps=10, rate=0.1, norm=norm)[KERNELS[1]] / initial[KERNELS[1]] for norm in (1e9, 1e-9)
    }
    assert ratio[1e9].mean() > 1.5
    assert ratio[1e-9].mean() < 0.7
    # GQ of L = |w|^4 / 4 by leaf: g = |w|^2 w, H g = 3 |w|^4 w, so |Hg / g| = 3 |w|^2: less for smaller kernels
    context = Context(
        network,
        3,
        slopes=lambda what, seed, w, *v, **_: jax.jvp(jax.grad(quartic), (w,), tuple(v))[1] if v else jax.grad(quartic)(w),
    )
    found = value_actions["metainit"](context, steps=3, rate=0.1)
    for path in KERNELS:
        assert found[path] == pytest.approx(initial[path] * np.exp(-0.1 * (1 + 2 / 3 + 1 / 3)), rel=1e-4)
    with pytest.raises(TombolaError, match="steps = 0"):
        value_actions["metainit"](context, steps=0)


def quartic(weights):
    return sum(jnp.sum(weights[path] ** 2) ** 2 for path in KERNELS) / 4


@pytest.mark.parametrize("name", ["metainit", "gradinit"])
def test_learnt_scales_on_data_are_one_factor_a_kernel(name, initial):
    mask, found = start(Action(name=name, options={"steps": 2, "size": 60}), SPARSE)
    for path in KERNELS:
        ratio = found[path][mask[path]] / initial[path][mask[path]]
        assert np.ptp(ratio) < 1e-5
        assert ratio[0] != 1
    assert not found["hidden1/bias"].any()


# -- activations, and masks carried over ---------------------------------------------------------------------------------


def test_what_layers_read_and_give(network, initial):
    inputs = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    seen = activations.layers_on(network, initial, inputs)
    hidden = inputs @ initial[KERNELS[0]]
    assert seen[KERNELS[0]].inputs == pytest.approx(inputs)
    assert seen[KERNELS[0]].outputs == pytest.approx(hidden, abs=1e-5)
    assert seen[KERNELS[1]].inputs == pytest.approx(np.maximum(hidden + initial["hidden1/bias"], 0), abs=1e-5)
    assert list(seen) == [*KERNELS]


@pytest.mark.parametrize("task", [TASK, CONV], ids=["mlp", "conv"])
@pytest.mark.parametrize("by", ["weights", "activations"])
def test_masks_are_matched_as_units_are(task, by):
    network = resolved(task, None)[0].network
    fixed = network.init(3)
    random = np.random.default_rng(0)
    orders = {one.layer: random.permutation(one.count) for one in network.units}
    moved = permute(fixed, network.units, orders)
    mask = {path: random.random(fixed[path].shape) < 0.5 for path in network.prunable}
    seen = lambda seed, weights, batch, size: activations.on_training_examples(task, None, seed, weights, batch, size)  # noqa: E731
    found = mask_actions["matched"](Context(network, 3, recorded=seen), permute(mask, network.units, orders), moved, fixed, by=by, size=100)
    for path, leaf in mask.items():
        assert (found[path] == leaf).mean() > 0.97, path  # units that are never active are any


def test_activations_that_agree_are_matched():
    network = resolved(TASK, None)[0].network
    weights = network.init(0)
    reads = {KERNELS[1]: np.random.default_rng(0).normal(size=(50, 12)), KERNELS[2]: np.random.default_rng(1).normal(size=(50, 8))}
    order = np.random.default_rng(2).permutation(12)
    scaled = {KERNELS[1]: 3 * reads[KERNELS[1]][:, order] + 7, KERNELS[2]: np.zeros((50, 8))}
    found = match_activations(network, weights, weights, reads, scaled)
    assert (order[found["hidden1"]] == np.arange(12)).all()
    assert sorted(found["hidden2"]) == list(range(8))


def test_what_cannot_be_matched_is_one_line(network, initial):
    dense = {path: np.ones_like(initial[path], bool) for path in KERNELS}
    with pytest.raises(TombolaError, match="way to match units"):
        mask_actions["matched"](Context(network, 0), dense, initial, initial, by="luck")
    with pytest.raises(TombolaError, match="no data"):
        mask_actions["matched"](Context(network, 0), dense, initial, initial)


# -- Sign-In and HAM -----------------------------------------------------------------------------------------------------


def steps(name, rate, count, **options):
    """Weights after steps on L = |w - 1|^2 / 2 from w = -0.3, 0.4, without momentum."""
    recipe = SimpleNamespace(momentum=0.0, weight_decay=0.0, optimizer=name, optimizer_options=options)
    found = transformation(recipe)
    weights = {"k": jnp.array([[-0.3, 0.4]], jnp.float64 if jax.config.jax_enable_x64 else jnp.float32), "b": jnp.array([-0.3])}
    state = found.init(weights)
    for _ in range(count):
        update, state = found.update({path: leaf - 1 for path, leaf in weights.items()}, state, weights, rate=rate)
        weights = {path: leaf - rate * update[path] for path, leaf in weights.items()}
    return {path: np.asarray(leaf) for path, leaf in weights.items()}


def test_sign_in_is_gradient_descent_on_its_factors():
    for rate in (0.01, 0.2):
        w, beta = np.array([[-0.3, 0.4]]), 0.7
        for _ in range(5):
            m = np.sqrt((beta + np.sqrt(beta**2 + 4 * w**2)) / 2)
            u = w / m
            slope = w - 1
            w = (m - rate * u * slope) * (u - rate * m * slope)
        found = steps("sign_in", rate, 5, beta=beta)
        assert found["k"] == pytest.approx(w, rel=1e-5)
        assert found["b"] == pytest.approx(1 - 1.3 * (1 - rate) ** 5, rel=1e-5)  # plain gradient descent
    for count, rate in ((200, 0.001), (20, 0.01)):  # the flow dw = -sqrt(4 w^2 + beta^2) g, by small steps of its own
        w = np.array([[-0.3, 0.4]])
        for _ in range(20_000):
            w = w - 1e-5 * np.sqrt(4 * w**2 + 1) * (w - 1)
        assert steps("sign_in", rate, count)["k"] == pytest.approx(w, abs=5 * rate**1)


def test_ham_multiplies_after_the_step():
    rate, alpha, beta = 0.01, 30.0, 0.1
    w = np.array([[-0.3, 0.4]])
    for _ in range(5):
        slope = w - 1
        w = w - rate * slope
        w = w * np.exp(np.clip(rate * (-alpha * np.sign(w) * slope - beta), -5, 5))
    found = steps("ham", rate, 5, alpha=alpha, beta=beta)
    assert found["k"] == pytest.approx(w, rel=1e-4)
    assert steps("ham", rate, 1, alpha=1e6)["k"] == pytest.approx(
        (np.array([[-0.3, 0.4]]) + rate * np.array([[1.3, 0.6]])) * np.exp([[-5, 5]]), rel=1e-4
    )
    assert np.isfinite(steps("ham", 0.0, 1)["k"]).all()


@pytest.mark.parametrize(("name", "options"), [("sign_in", {}), ("ham", {"alpha": 5.0})])
def test_they_train_and_hold_pruned_weights(name, options):
    task = TASK.but(recipe=RECIPE.but(optimizer=name, optimizer_options=options, steps="150it", learning_rate=0.02))
    run = tb.train(task, replicates=1, mask=tb.Action(name="sparse", options={"density": 0.5}), seed=0)
    assert run.metrics["val_loss"][0, -1] < 0.8 * run.metrics["val_loss"][0, 0]
    for path, kept in run.mask.items():
        assert not np.asarray(run.final[path])[~np.asarray(kept)].any()
