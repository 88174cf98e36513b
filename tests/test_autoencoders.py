"""Autoencoders: objectives by hand, networks and what they say on the way, training against a plain loop, measures of codes."""

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import tombola as tb
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.objective import Seen
from tombola.data.dataset import load
from tombola.data.order import epoch_order
from tombola.data.split import split
from tombola.engine.compute import compute
from tombola.engine.graph import graph
from tombola.engine.progress import Progress
from tombola.models.autoencoder import noise_of
from tombola.models.build import build
from tombola.objectives import Elbo, Reconstruction
from tombola.procedures.actions import rates_by_path
from tombola.procedures.code_measurements import emptied, hoyer
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Run
from tombola.pruning.structured import prune_units
from tombola.store.store import Store
from tombola.surgery.compact import compact_model
from tombola.training.frozen import trained_paths

RANDOM = np.random.default_rng(0)
X = RANDOM.random((80, 6)).astype(np.float32)
LABELS = (X[:, 0] > 0.5).astype(np.int32)
INFO = DataInfo((6,), (6,))


def toy(model="autoencoder", objective="reconstruction", options=None, **recipe):
    data = tb.from_arrays(X[:60], LABELS[:60], X[60:], LABELS[60:], validation=20)
    recipe = {"steps": "6it", "batch": 10, "learning_rate": 0.05, "evaluate_every": "3it", "optimizer": "sgd", **recipe}
    options = {"autoencoder": {"widths": [4]}, "vae": {"widths": [5, 5], "latents": 3}}.get(model, {}) if options is None else options
    made = tb.model(model, **options) if isinstance(model, str) else model
    return tb.Task(data=data, model=made, recipe=tb.Recipe(**recipe), objective=objective)


def seen(outputs, code, log_variance=None, gates=None, **weights):
    inside = {"code": code, "log_variance": log_variance, "gates": gates}
    return Seen(jnp.array(outputs), {name: jnp.array(one) for name, one in inside.items() if one is not None}, weights)


def measured(task, run=None, **options):
    run, store = run or Run(task=task, seed=replicate_seed(0, 0)), Store()
    asked = Measurement(task=task, seed=run.seed, name="code", of=(run.at("end"), run.its_mask()), options=options)
    compute(graph([run], {}, [asked]), [asked], store, None, Progress({}, quiet=True))
    return store.measurements.get(asked.digest).found()


# -- objectives by hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_bound_is_a_sum_over_values_and_latents(likelihood):
    """Against SciPy's densities, and the KL by numerical integration: a mean in either term would be another number."""
    outputs, targets = RANDOM.normal(size=(2, 3)), np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    mean, log_variance = np.array([[0.5, -1.0], [0.0, 2.0]]), np.array([[0.2, -0.5], [0.0, 0.3]])
    objective = Elbo(likelihood=likelihood, beta=3.0, **({"sigma": 0.7} if likelihood == "gaussian" else {}))
    density = stats.bernoulli(1 / (1 + np.exp(-outputs))).logpmf if likelihood == "bernoulli" else stats.norm(outputs, 0.7).logpdf

    def kl(m, s):
        q, p = stats.norm(m, s), stats.norm()
        return integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), m - 12 * s, m + 12 * s)[0]

    terms = np.array([[kl(m, np.exp(v / 2)) for m, v in zip(*row, strict=True)] for row in zip(mean, log_variance, strict=True)]).sum(1)
    nll, given = -density(targets).sum(1), seen(outputs, mean, log_variance)
    np.testing.assert_allclose(objective.loss(given, targets), nll + 3 * terms, rtol=1e-5)
    found = objective.measures(given, targets)
    np.testing.assert_allclose(found["nelbo"], nll + terms, rtol=1e-5)  # whatever beta is
    np.testing.assert_allclose(found["nll"], nll, rtol=1e-5)
    np.testing.assert_allclose(found["kl"], terms, rtol=1e-5)
    expected = 1 / (1 + np.exp(-outputs)) if likelihood == "bernoulli" else outputs
    np.testing.assert_allclose(found["mse"], ((expected - targets) ** 2).mean(1), rtol=1e-5)
    best = (
        -(stats.bernoulli(targets.mean(0)) if likelihood == "bernoulli" else stats.norm(targets.mean(0), 0.7))
        .__getattribute__("logpmf" if likelihood == "bernoulli" else "logpdf")(targets)
        .sum(1)
        .mean()
    )
    assert objective.chance(targets) == pytest.approx(best, rel=1e-6, abs=1e-9)


def test_terms_of_sparsity_are_sums_beside_a_summed_loss():
    code, outputs, targets = np.array([[0.1, 0.9], [0.3, 0.5]]), np.zeros((2, 4)), np.ones((2, 4))
    kernel = np.array([[1.0, -2.0]])
    given = seen(outputs, code, gates=np.array([0.25, 0.5]), kernel=kernel)
    mean = code.mean(0)
    kl = (0.2 * np.log(0.2 / mean) + 0.8 * np.log(0.8 / (1 - mean))).sum()
    terms = {
        "activity_kl": (Reconstruction(activity_kl=3, activity_target=0.2), 3 * kl),
        "activity_l1": (Reconstruction(activity_l1=2), 2 * code.sum(1)),
        "gate_l0": (Reconstruction(gate_l0=5), 5 * 0.75),
        "weight_l1": (Reconstruction(weight_l1=7), 7 * 3.0),
    }
    for objective, term in terms.values():
        np.testing.assert_allclose(objective.training_loss(given, targets, 0.0), 1 + term / 4, rtol=1e-6)
        np.testing.assert_allclose(objective.loss(given, targets), 1.0)  # validation is without them
        summed = objective.but(likelihood="bernoulli")
        np.testing.assert_allclose(summed.training_loss(given, targets, 0.0), 4 * np.log(2) + term, rtol=1e-6)
    bound = Elbo(activity_l1=2)
    vae = seen(outputs, code, np.zeros((2, 2)))
    np.testing.assert_allclose(bound.training_loss(vae, targets, 0.0) - bound.loss(vae, targets), 2 * code.sum(1), rtol=1e-5)
    assert np.isnan(Reconstruction(activity_kl=3).penalty(seen(outputs, 2 * np.ones((2, 2)))))  # no probabilities: never silent


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reconstruction(activity_target=0.1), "activity_target = 0.1 is of the term activity_kl, which is 0"),
        (lambda: Elbo(sigma=2), "sigma = 2 is of the Gaussian likelihood"),
        (lambda: tb.train(toy("mlp", "elbo", {"widths": [4]}), 1), "objective 'elbo' reads 'code' of a network, and this one says nothing"),
        (
            lambda: tb.train(toy(objective={"name": "reconstruction", "gate_l0": 1}), 1),
            "reads 'gates' of a network, and this one says 'code'",
        ),
        (lambda: tb.train(toy(options={"widths": [4, 4]}), 1), "the middle one is the code; give an odd number"),
        (lambda: tb.train(toy(options={"widths": [4], "top_k": 4}), 1), "option top_k = 4, but the code has 4 units"),
        (lambda: tb.train(toy("vae", "elbo", {"widths": [4]}), 1), "each half has as many; give an even number"),
    ],
)
def test_what_does_not_fit_is_one_line(make, message):
    with pytest.raises(TombolaError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)


def test_a_bernoulli_likelihood_is_of_values_from_0_to_1():
    data = tb.from_arrays(3 * X[:60], LABELS[:60], 3 * X[60:], LABELS[60:], validation=20)
    for objective in (Elbo(), Reconstruction(likelihood="bernoulli")):
        with pytest.raises(TombolaError, match="needs inputs from 0 to 1, and these span"):
            objective.fitted(load(data))
    assert Elbo(likelihood="gaussian").fitted(load(data)) == Elbo(likelihood="gaussian")


# -- networks ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_top_k_keeps_the_largest_of_each_example_and_gates_close_units():
    weights = build(tb.model("autoencoder", widths=[5]), INFO).init(1)
    plain = build(tb.model("autoencoder", widths=[5], activation="sigmoid"), INFO).compute(weights, X, train=False)
    code = np.asarray(plain.inside["code"])
    np.testing.assert_allclose(code, 1 / (1 + np.exp(-X @ weights["encoder/code/kernel"])), rtol=1e-5)
    kept = build(tb.model("autoencoder", widths=[5], activation="sigmoid", top_k=2), INFO).compute(weights, X, train=False).inside["code"]
    np.testing.assert_allclose(kept, np.where(code >= np.sort(code, axis=1)[:, -2:-1], code, 0))
    gated = build(tb.model("autoencoder", widths=[5], activation="sigmoid", gates=True), INFO)
    scores = np.array([-1, 1, 2, -0.1, 0.1], np.float32)

    def outputs(scores, weighed):
        found = gated.compute({**weights, "gates": scores}, X, train=True)
        return (found.outputs * weighed).sum(), found.inside

    slope, inside = jax.grad(outputs, has_aux=True)(scores, 1.0)
    np.testing.assert_allclose(inside["code"], code * [0, 1, 1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(inside["gates"], 1 / (1 + np.exp(-scores)), rtol=1e-6)
    p = 1 / (1 + np.exp(-scores))
    np.testing.assert_allclose(slope, p * (1 - p) * (code.sum(0) * weights["decoder/output/kernel"].sum(1)), rtol=1e-4)


@pytest.mark.slow
def test_parts_are_named_and_can_be_pruned_and_frozen_by_name():
    network = build(tb.model("conv_autoencoder", widths=[2, 3, 5]), DataInfo((8, 4, 1), (8, 4, 1)))
    assert {layer.block for layer in network.layers} == {"encoder", "decoder"}
    rates = rates_by_path(network, {"conv": 0.1, "dense": 0.2, "output": 0.3, "decoder": 0.0, "encoder/code": 0.5})
    assert {rate for path, rate in rates.items() if path.startswith("decoder")} == {0.0}
    assert (rates["encoder/conv1/kernel"], rates["encoder/code/kernel"]) == (0.1, 0.5)
    with pytest.raises(TombolaError, match="their blocks decoder, encoder; the kinds"):
        rates_by_path(network, {"coder": 0.1})
    images = RANDOM.random((3, 8, 4, 1)).astype(np.float32)
    found = network.compute(network.init(0), images, train=False)
    assert found.outputs.shape == images.shape
    np.testing.assert_allclose(network.part("decoder", network.init(0), found.inside["code"]), found.outputs, rtol=1e-5)
    with pytest.raises(TombolaError, match="no part 'coder'"):
        network.part("coder", network.init(0), images)
    assert trained_paths(network, ("encoder",)) == {path for path in network.shapes if path.startswith("decoder")}


def test_units_go_with_row_and_column_and_the_rest_is_a_smaller_autoencoder():
    model = tb.model("autoencoder", widths=[5, 4, 3])
    network, weights = build(model, INFO), build(model, INFO).init(0)
    dense = {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
    rates = {**dict.fromkeys(dense, 0.0), "encoder/code/kernel": 0.5}
    mask = prune_units({path: abs(weights[path]) for path in dense}, dense, rates, network.units)
    kept = mask["encoder/code/kernel"].any(0)
    assert kept.sum() == 2
    assert (mask["encoder/code/kernel"] == kept).all()
    assert (mask["decoder/hidden1/kernel"] == kept[:, None]).all()
    pruned = {path: leaf * mask[path] if path in mask else leaf for path, leaf in weights.items()}
    small, left = compact_model(model, INFO, pruned)  # raises if outputs differ
    assert small.options["widths"][1] == 2
    assert left.weights["encoder/code/kernel"].shape[1] == 2


def test_the_noise_of_an_evaluation_is_the_examples_own():
    noise = noise_of(jnp.array(X), 3)
    np.testing.assert_array_equal(noise[::-1], noise_of(jnp.array(X[::-1]), 3))
    np.testing.assert_array_equal(noise, noise_of(jnp.nextafter(jnp.array(X), jnp.inf), 3))
    assert len(np.unique(noise)) == noise.size
    wide = np.asarray(noise_of(jax.random.uniform(jax.random.key(1), (2000, 6)), 4))
    assert abs(wide.mean()) < 0.04
    assert wide.std() == pytest.approx(1, abs=0.03)


@pytest.mark.slow
def test_reparameterisation_draws_anew_in_training_alone():
    network = build(tb.model("vae", widths=[5, 5], latents=3), INFO)
    weights = network.init(0)
    one, again, other = (network.compute(weights, X, train=True, dropout_key=jax.random.key(seed)).outputs for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    first, second = (network.compute(weights, X[:5], train=False) for _ in range(2))
    np.testing.assert_array_equal(first.outputs, second.outputs)
    z = first.inside["code"] + np.exp(first.inside["log_variance"] / 2) * noise_of(jnp.array(X[:5]), 3)
    np.testing.assert_allclose(first.outputs, network.part("decoder", weights, z), rtol=1e-4, atol=1e-6)


# -- training ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_terms_of_sparsity_train_as_a_plain_loop_does():
    """An autoencoder 6-4-6 with a sigmoid code, in plain JAX: the loss as published, summed, then divided by 6 values."""
    terms = {"activity_kl": 3.0, "activity_target": 0.1, "activity_l1": 0.2, "weight_l1": 0.05}
    task = toy(objective={"name": "reconstruction", **terms}, options={"widths": [4], "activation": "sigmoid"})
    found, dataset = tb.train(task, 1), load(task.data)
    w = {path: leaf[0] for path, leaf in found.initial.items()}
    part = split(dataset, task.data, replicate_seed(0, 0))
    orders = [epoch_order(replicate_seed(0, 0), "data_order", epoch, part.train) for epoch in range(2)]

    def loss(w, x):
        code = jax.nn.sigmoid(x @ w["encoder/code/kernel"] + w["encoder/code/bias"])
        squares = ((code @ w["decoder/output/kernel"] + w["decoder/output/bias"] - x) ** 2).sum(1).mean()
        m = code.mean(0)
        kl = (0.1 * jnp.log(0.1 / m) + 0.9 * jnp.log(0.9 / (1 - m))).sum()
        weights = jnp.abs(w["encoder/code/kernel"]).sum() + jnp.abs(w["decoder/output/kernel"]).sum()
        return (squares + 3 * kl + 0.2 * code.sum(1).mean() + 0.05 * weights) / 6

    for t in range(6):
        batch = orders[t // 4][t % 4 * 10 : t % 4 * 10 + 10]
        w = {path: w[path] - 0.05 * slope for path, slope in jax.grad(loss)(w, dataset.inputs[batch]).items()}
    for path, leaf in w.items():
        np.testing.assert_allclose(found.final[path][0], leaf, rtol=1e-4, atol=1e-6)


def test_denoising_is_noise_on_the_inputs_of_training_alone():
    plain, noisy = Reconstruction(), Reconstruction(noise=0.5)
    assert (plain.changes_batches, noisy.changes_batches) == (False, True)
    batch = noisy.batch(jax.random.key(0), (jnp.zeros((4000, 2)), jnp.ones((4000, 2))), None)
    assert float(batch[0].std()) == pytest.approx(0.5, abs=0.02)
    assert (batch[1] == 1).all()


# -- codes ---------------------------------------------------------------------------------------------------------------


def test_hoyer_by_hand():
    found = hoyer(np.array([[1.0, 1, 1, 1], [0, 3, 0, 0], [3, 4, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(found, [0, 1, 2 - 7 / 5, np.nan])


def test_emptied_units_have_no_way_in_or_out():
    for model, incoming in (
        (tb.model("autoencoder", widths=[4]), "encoder/code"),
        (tb.model("vae", widths=[4, 4], latents=4), "encoder/mean"),
    ):
        network = build(model, INFO)
        mask = {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
        mask[f"{incoming}/kernel"][:, 1] = False
        outgoing = next(path for path in network.prunable if path.startswith("decoder"))
        mask[outgoing][3] = False
        mask["encoder/log_variance/kernel" if "vae" in model.name else f"{incoming}/kernel"][0, 2] = False
        assert emptied(network, mask, 4).tolist() == [False, True, False, True]


class TwoParts(nnx.Module):
    """A user's own: two parts, and a code that is said."""

    blocks = ("encoder", "decoder")

    def __init__(self, shape, classes, *, rngs):
        self.encoder, self.decoder = nnx.Linear(shape[0], 3, rngs=rngs), nnx.Linear(3, classes, rngs=rngs)

    def __call__(self, x):
        code = nnx.relu(self.encoder(x)).at[:, 0].set(0)
        tb.sow("code", code)
        return self.decoder(code)


def test_measures_of_a_users_own_code():
    task = toy(tb.model(TwoParts))
    run = tb.train(task, 1)
    found = measured(task, probe=30, pictures=2, traversal=True)
    w, test = {path: leaf[0] for path, leaf in run.final.items()}, X[60:]
    code = np.maximum(test @ w["encoder/kernel"] + w["encoder/bias"], 0)
    code[:, 0] = 0
    outputs = code @ w["decoder/kernel"] + w["decoder/bias"]
    assert found["score"] == pytest.approx(((outputs - test) ** 2).mean(), rel=1e-4)
    assert found["chance"] == pytest.approx(test.var(0).mean(), rel=1e-4)
    most, spread = code.max(0), code.std(0)
    on = np.array([[most[j] > 0 and code[i, j] > 0.1 * most[j] for j in range(3)] for i in range(20)])
    assert found["active"] == pytest.approx(on.mean())
    dead = [spread[j] <= 1e-3 * spread.max() or most[j] == 0 for j in range(3)]
    assert dead[0]
    assert found["dead"] == pytest.approx(np.mean(dead))
    assert found["used"] == 3 - sum(dead)
    assert found["latent_active"].tolist() == [one > 0.01 for one in code.var(0)]
    assert found["weight_hoyer"] == pytest.approx(
        hoyer(np.concatenate([w[path].ravel() for path in w if "kernel" in path])[None])[0], rel=1e-4
    )
    assert 0 <= found["probe_acc"] <= 1
    np.testing.assert_allclose(found["pictures"], outputs[:2], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found["originals"], test[:2])
    at = np.zeros(3)
    at[1] = -2.0
    np.testing.assert_allclose(found["traversal"][1, 0], at @ w["decoder/kernel"] + w["decoder/bias"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_headline_of_several_measures_is_the_first_that_is_said():
    """Programs give dictionaries back sorted by name: `kl` would come first."""
    task = toy("vae", "elbo")
    run, found = tb.train(task, 1), measured(task, probe=0)
    assert found["score"] == found["nelbo"] == pytest.approx(found["nll"] + found["kl"], rel=1e-5)
    assert run.metrics["test_nelbo"][0, -1] == pytest.approx(float(found["score"]), rel=1e-5)
    assert np.isnan(found["probe_acc"])
