"""Kinds of measurement `reset` and `valley`: against networks that are put together by hand and run one by one."""

from functools import cache

import jax
import numpy as np
import pytest
from flax import nnx

from tombola.api.train import train
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.core.task import Data, Model, Recipe, Task
from tombola.core.trees import equal, replica
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.evaluation import weight_combinations
from tombola.evaluation.weight_combinations import evaluate
from tombola.models.build import build
from tombola.models.custom import from_class
from tombola.procedures.layer_measurements import NORMALISATIONS
from tombola.procedures.measurements import Context, measurements
from tombola.training.cohort import setup

SEED = 5


class Block(nnx.Module):
    """Two dense layers with batch norm, and a way around them."""

    def __init__(self, width, rngs):
        self.first = nnx.Linear(width, width, rngs=rngs)
        self.first_norm = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.second_norm = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)

    def __call__(self, inputs):
        return inputs + self.second_norm(self.second(nnx.relu(self.first_norm(self.first(inputs)))))


class Stage(nnx.Module):
    """A block, then a dense layer."""

    def __init__(self, width, rngs):
        self.block = Block(width, rngs)
        self.after = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, inputs):
        return nnx.relu(self.after(self.block(inputs)))


class Staged(nnx.Module):
    """Dense layer with batch norm, stage, output."""

    def __init__(self, shape, classes, *, rngs):
        self.entry = nnx.Linear(shape[0], 8, rngs=rngs)
        self.entry_norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.stage = Stage(8, rngs)
        self.output = nnx.Linear(8, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(self.stage(nnx.relu(self.entry_norm(self.entry(inputs)))))


class Root(nnx.Linear):
    """A network that is one layer."""

    def __init__(self, shape, classes, *, rngs):
        super().__init__(shape[0], classes, rngs=rngs)


DATA = Data(name="digits", train=150, validation=50, test=100, label_noise=0.3)
MODELS = {"mlp": Model(name="mlp", options={"widths": [10, 8]}), "staged": from_class(Staged), "root": from_class(Root)}
LAYERS = {
    "mlp": {name: [f"{name}/kernel", f"{name}/bias"] for name in ("hidden1", "hidden2", "output")},
    "root": {"network": ["kernel", "bias"]},
    "staged": {
        "entry": ["entry/kernel", "entry/bias", "entry_norm/scale", "entry_norm/bias"],
        "stage/block/first": [f"stage/block/{leaf}" for leaf in ("first/kernel", "first/bias", "first_norm/scale", "first_norm/bias")],
        "stage/block/second": [f"stage/block/{leaf}" for leaf in ("second/kernel", "second/bias", "second_norm/scale", "second_norm/bias")],
        "stage/after": ["stage/after/kernel", "stage/after/bias"],
        "output": ["output/kernel", "output/bias"],
    },
}
"""Trainable leaves of each layer."""
CASES = [("mlp", "reset"), *[("staged", policy) for policy in NORMALISATIONS], ("root", "keep")]


@pytest.fixture(autouse=True)
def one_network_at_a_time(monkeypatch):
    """One program serves every number of networks."""
    monkeypatch.setattr(weight_combinations, "_MOST_DENSE", 1)


def task_of(name):
    return Task(data=DATA, model=MODELS[name], recipe=Recipe(steps="200it", batch=30, learning_rate=1e-2))


@cache
def network_of(name):
    return setup(task_of(name), load(DATA)).network


@cache
def checkpoints(name):
    """theta_T, theta_0 and theta_20."""
    run = train(task_of(name), 1, keep=["20it"])
    return tuple(replica(run.at(step), 0) for step in ("end", "0it", "20it"))


def dense(name):
    return {path: np.ones(network_of(name).shapes[path].shape, bool) for path in network_of(name).prunable}


def pruned(name):
    """A network with a third of its weights pruned, at values that are not 0, and its mask."""
    mask = {path: (np.arange(leaf.size) % 3 > 0).reshape(leaf.shape) for path, leaf in dense(name).items()}
    final = checkpoints(name)[0]
    return {**final, **{path: np.where(kept, final[path], np.float32(0.0625)) for path, kept in mask.items()}}, mask


def query(name, kind, *parents, **options):
    return measurements[kind](Context(network_of(name), SEED), *parents, **options)


def ask(name, kind, *parents, **options):
    wanted = query(name, kind, *parents, **options)
    return wanted.read(evaluate(task_of(name), load(DATA), wanted.networks, wanted.parts))


@cache
def each_layer(name, policy="reset", part="test"):
    """Each layer of the dense network put back to both checkpoints, then to two draws."""
    final, *earlier = checkpoints(name)
    return ask(name, "reset", final, dense(name), *earlier, draws=2, batch_norm=policy, part=part)


def columns(name):
    """What `each_layer` puts layers back to."""
    drawn = [{path: network_of(name).init_tensor(path, SEED, f"rerandomise/{draw}") for path in network_of(name).shapes} for draw in (0, 1)]
    return [*checkpoints(name)[1:], *drawn]


@cache
def compiled(name):
    network = network_of(name)
    return jax.jit(lambda weights, inputs: network.apply(weights, inputs, train=False)[0]), jax.jit(network.statistics)


def examples_of(part, first=None):
    """(inputs, labels) of a part; of the training examples the first ones alone."""
    data = load(DATA)
    own = split(data, DATA, SEED)
    if part == "test":
        return data.test_inputs[:100], data.test_targets[:100]
    chosen = own.validation if part == "validation" else own.train[:first]
    return data.inputs[chosen], own.targets[chosen]


def run(name, weights, part, first=None):
    """(wrong (n,), loss) of one network."""
    inputs, labels = examples_of(part, first)
    logits = np.asarray(compiled(name)[0](weights, inputs), np.float64)
    loss = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    return logits.argmax(1) != labels, loss.mean()


def renewed(name, weights):
    return {**weights, **compiled(name)[1](weights, examples_of("train")[0])}


def policy_leaves(name, layer, policy):
    """The leaves of a layer that go elsewhere: with its normalisation and its statistics, or without."""
    running = [path for path in network_of(name).running if path.startswith(f"{layer}_norm/")]
    return [path for path in LAYERS[name][layer] if policy != "keep" or "_norm/" not in path] + running * (policy != "keep")


def put_back(name, final, mask, other, layers, policy):
    """`final` with the leaves of some layers from `other`, where they are not pruned."""
    paths = [path for layer in layers for path in policy_leaves(name, layer, policy)]
    made = {**final, **{path: np.where(mask[path], other[path], final[path]) if path in mask else other[path] for path in paths}}
    return renewed(name, made) if policy == "recompute" else made


def near(found, expected, examples):
    """Errors are equal but for an example that rounding may put into another class."""
    np.testing.assert_allclose(found, expected, atol=1.5 / examples)


def check_point(name, found, at, weights, part="test"):
    """What is found at one place, against one network."""
    wrong, loss = run(name, weights, part)
    near(found["error"][at], wrong.mean(), len(wrong))
    assert found["loss"][at] == pytest.approx(loss, rel=1e-4)
    near(found["validation_error"][at], run(name, weights, "validation")[0].mean(), 50)
    labels = examples_of(part)[1]
    sizes = np.bincount(labels, minlength=10)
    by_class = np.bincount(labels[wrong], minlength=10) / sizes
    assert np.abs(found["class_error"][at] - by_class) @ sizes <= 1.5


def flat(tree, paths):
    return np.concatenate([np.ravel(tree[path]) for path in paths]).astype(float)


# -- layers put back ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "policy"), CASES)
def test_each_layer_by_itself_goes_back_to_checkpoints_and_draws(name, policy):
    final, found, layers = checkpoints(name)[0], each_layer(name, policy), list(LAYERS[name])
    assert found["error"].shape == found["loss"].shape == found["validation_error"].shape == (len(layers), 4)
    assert found["class_error"].shape == (len(layers), 4, 10)
    for row, layer in enumerate(layers):
        for column, other in enumerate(columns(name)):
            check_point(name, found, (row, column), put_back(name, final, dense(name), other, [layer], policy))
    assert np.ptp(found["error"]) > 0.2
    assert len(np.unique(found["loss"])) == found["loss"].size
    own = {key.removeprefix("own_"): value for key, value in found.items() if key.startswith("own_")}
    check_point(name, own, (), final)
    labels = examples_of("test")[1]
    assert found["examples"] == 100
    assert found["chance"] == pytest.approx(1 - np.bincount(labels).max() / 100)


def test_policies_for_batch_norm_differ_where_a_layer_has_it():
    losses = [each_layer("staged", policy)["loss"][:, 0] for policy in NORMALISATIONS]
    reset, keep, recompute = (dict(zip(LAYERS["staged"], loss, strict=True)) for loss in losses)
    for layer in ("entry", "stage/block/first", "stage/block/second"):
        assert min(abs(np.log(reset[layer] / keep[layer])), abs(np.log(reset[layer] / recompute[layer]))) > 1e-2
        assert abs(np.log(keep[layer] / recompute[layer])) > 1e-2
    for layer in ("stage/after", "output"):  # nothing follows them; statistics anew are not those of training
        assert reset[layer] == keep[layer] != recompute[layer]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_the_part_on_which_errors_are_reported(part):
    (final, initial, _), found = checkpoints("mlp"), each_layer("mlp", part=part)
    for row, layer in enumerate(LAYERS["mlp"]):
        check_point("mlp", found, (row, 0), put_back("mlp", final, dense("mlp"), initial, [layer], "reset"), part)
    assert found["examples"] == {"train": 150, "validation": 50, "test": 100}[part]


def test_a_class_without_examples_has_no_error():
    final, initial, _ = checkpoints("mlp")
    found = ask("mlp", "reset", final, dense("mlp"), initial, part="train", train=6)
    labels = examples_of("train", 6)[1]
    absent = sorted(set(range(labels.max())) - set(labels.tolist()))
    assert found["examples"] == 6
    assert absent
    assert np.isnan(found["class_error"][:, 0, absent]).all()
    wrong, _ = run("mlp", final, "train", 6)
    for one in set(labels.tolist()):
        near(found["own_class_error"][one], wrong[labels == one].mean(), np.sum(labels == one))


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_resets_do_not_add_up_and_parents_stay(name):
    parents = checkpoints(name)
    before = [{path: np.array(leaf) for path, leaf in tree.items()} for tree in parents]
    names = list(LAYERS[name])
    turned = ask(name, "reset", parents[0], dense(name), *parents[1:], draws=2, sets=[[layer] for layer in names[::-1]])
    for key, values in each_layer(name).items():
        rows = slice(None, None, -1) if np.shape(values)[:1] == (len(names),) else ...
        np.testing.assert_array_equal(turned[key][rows], values)
    ask(name, "valley", parents[0], dense(name), parents[1], places=2, noises=(0.1,), draws=2)
    assert all(equal(*pair) for pair in zip(parents, before, strict=True))


def test_a_layer_put_back_to_where_it_is_changes_nothing():
    final = checkpoints("staged")[0]
    found = ask("staged", "reset", final, dense("staged"), final)
    for key in ("error", "loss", "validation_error", "class_error"):
        np.testing.assert_array_equal(found[key][:, 0], np.broadcast_to(found[f"own_{key}"], found[key][:, 0].shape))
    assert not found["rms"].any()
    assert not found["max"].any()
    assert found["cosine"] == pytest.approx(1)


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_pruned_weights_stay_as_they_are(name, policy):
    final, mask = pruned(name)
    initial = checkpoints(name)[1]
    found = ask(name, "reset", final, mask, initial, draws=1, batch_norm=policy)
    for row, layer in enumerate(LAYERS[name]):
        for column, other in enumerate((initial, network_of(name).init(SEED, "rerandomise/0"))):
            made = put_back(name, final, mask, other, [layer], policy)
            check_point(name, found, (row, column), made)
            paths = LAYERS[name][layer]
            moved = np.abs(flat(final, paths) - flat(made, paths))
            assert np.sum(moved == 0) >= np.sum(~mask[paths[0]]) > 0
            assert found["max"][row, column] == pytest.approx(moved.max())


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_how_far_layers_move(name, policy):
    final, found = checkpoints(name)[0], each_layer(name, policy)
    for row, (layer, paths) in enumerate(LAYERS[name].items()):
        for column, other in enumerate(columns(name)):
            made = put_back(name, final, dense(name), other, [layer], policy)
            before, after = flat(final, paths), flat(made, paths)
            assert found["rms"][row, column] == pytest.approx(np.sqrt(np.mean((before - after) ** 2)))
            assert found["max"][row, column] == pytest.approx(np.abs(before - after).max())
            assert found["cosine"][row, column] == pytest.approx(before @ after / np.linalg.norm(before) / np.linalg.norm(after))


# -- sets and units ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "sets", "layers"),
    [
        ("layer", [["entry", "output"], ["stage/after"]], [["entry", "output"], ["stage/after"]]),
        ("block", None, [["entry"], ["stage/block/first", "stage/block/second"], ["stage/after"], ["output"]]),
        ("stage", None, [["entry"], ["stage/block/first", "stage/block/second", "stage/after"], ["output"]]),
        ("block", [["entry", "stage/block"]], [["entry", "stage/block/first", "stage/block/second"]]),
    ],
)
def test_layers_are_put_back_together(unit, sets, layers):
    final, initial, _ = checkpoints("staged")
    found = ask("staged", "reset", final, dense("staged"), initial, unit=unit, sets=sets)
    assert found["error"].shape == (len(layers), 1)
    for row, together in enumerate(layers):
        made = put_back("staged", final, dense("staged"), initial, together, "reset")
        check_point("staged", found, (row, 0), made)
        paths = [path for layer in together for path in LAYERS["staged"][layer]]
        moved = flat(final, paths) - flat(made, paths)
        assert found["rms"][row, 0] == pytest.approx(np.sqrt(np.mean(moved**2)))
        assert found["max"][row, 0] == pytest.approx(np.abs(moved).max())


# -- fresh draws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("initializer", ["glorot_normal", "kaiming_uniform"])
def test_a_fresh_draw_follows_each_layers_own_initializer(initializer):
    network = build(MODELS["mlp"].but(initializer=initializer), DataInfo.of_classes((64,), 10))
    initial = network.init(SEED)
    mask = {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
    networks = measurements["reset"](Context(network, SEED), initial, mask, initial, draws=8).networks
    assert equal(networks.sources[0], initial)
    assert equal(networks.sources[1], initial)
    drawn = networks.sources[2:]
    for draw, tree in enumerate(drawn):
        assert equal(tree, {path: network.init_tensor(path, SEED, f"rerandomise/{draw}") for path in network.shapes})
    for path in network.shapes:
        pooled = np.stack([tree[path] for tree in drawn])
        assert pooled.std() == pytest.approx(network.std(path), rel=0.1)
        if path in network.prunable:
            assert abs(pooled.mean()) < 0.15 * network.std(path)
            assert (np.abs(pooled).max() > 1.01 * np.sqrt(3) * network.std(path)) == (initializer == "glorot_normal")
            values = [np.sort(tree[path], axis=None).tobytes() for tree in (initial, *drawn)]
            assert len(set(values)) == 9  # neither equal nor a permutation of one another


# -- valleys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_the_ends_of_a_valley_are_the_network_and_its_reset(name, policy):
    final, initial, _ = checkpoints(name)
    found = ask(name, "valley", final, dense(name), initial, places=2, noises=(1e-12,), draws=2, batch_norm=policy)
    back = each_layer(name, policy, "train")
    layers = list(LAYERS[name])
    assert found["a"].tolist() == [0, 1]
    assert found["sigma"].tolist() == [1e-12]
    assert found["error"].shape == (len(layers), 2, 1)
    near(found["own_error"], run(name, final, "train")[0].mean(), 150)
    near(found["own_error"], back["own_error"], 150)
    near(found["error"][:, 0, 0], back["error"][:, 0], 150)
    at_end = renewed(name, final) if policy == "recompute" else final
    near(found["error"][:, 1, 0], run(name, at_end, "train")[0].mean(), 150)
    assert np.max(found["error"][:, 0, 0] - found["error"][:, 1, 0]) > 0.1
    labels = examples_of("train")[1]
    assert found["chance"] == pytest.approx(1 - np.bincount(labels).max() / 150)


def shaken(name, final, mask, initial, layers, policy, a, sigma, draw):
    """One network of a valley."""
    made = dict(final)
    for path in [path for layer in layers for path in policy_leaves(name, layer, policy)]:
        there = (1 - a) * np.float64(initial[path]) + a * np.float64(final[path])
        if path in network_of(name).trainable:
            there = there + sigma * generator(SEED, f"valley/{draw}/{path}").standard_normal(there.shape, np.float32)
        made[path] = (np.where(mask[path], there, final[path]) if path in mask else there).astype(np.float32)
    return renewed(name, made) if policy == "recompute" else made


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_every_place_in_a_valley(name, policy):
    final, mask = pruned(name)
    initial = checkpoints(name)[1]
    options = {"places": 3, "noises": (0.2, 0.6), "draws": 2, "batch_norm": policy, "train": 70}
    found = ask(name, "valley", final, mask, initial, **options)
    near(found["own_error"], run(name, final, "train", 70)[0].mean(), 70)
    for row, layer in enumerate(LAYERS[name]):
        for place, a in enumerate((0, 0.5, 1)):
            for column, sigma in enumerate(options["noises"]):
                networks = [shaken(name, final, mask, initial, [layer], policy, a, sigma, draw) for draw in range(2)]
                near(found["error"][row, place, column], np.mean([run(name, one, "train", 70)[0].mean() for one in networks]), 70)
        paths = [path for path in LAYERS[name][layer] if policy != "keep" or "_norm/" not in path]
        apart = [np.where(mask.get(path, True), np.float64(final[path]) - initial[path], 0).ravel() for path in paths]
        assert found["distance"][row] == pytest.approx(np.linalg.norm(np.concatenate(apart)))


@pytest.mark.parametrize("policy", NORMALISATIONS)
def test_what_is_shaken(policy):
    final, mask = pruned("staged")
    sources = query("staged", "valley", final, mask, checkpoints("staged")[1], draws=3, batch_norm=policy).networks.sources
    assert len(sources) == 5
    assert equal(sources[0], final)
    clouds = sources[2:]
    for path in final:
        values = np.stack([cloud[path] for cloud in clouds])
        still = path in network_of("staged").running or (policy == "keep" and "_norm/" in path)
        kept = np.broadcast_to(mask.get(path, not still), values.shape)
        assert np.array_equal(values != 0, kept)
        assert still or len(np.unique(values[kept])) == kept.sum()
    everything = np.concatenate([cloud[path][mask[path]] for cloud in clouds for path in mask])
    assert everything.mean() == pytest.approx(0, abs=0.05)
    assert everything.std() == pytest.approx(1, abs=0.05)


def test_more_noise_is_worse():
    final, initial, _ = checkpoints("staged")
    found = ask("staged", "valley", final, dense("staged"), initial, places=2, noises=(0.01, 0.3, 3.0), draws=2)
    assert (np.diff(found["error"][:, 1].mean(axis=0)) > 0.05).all()


def test_valleys_of_blocks_and_stages():
    final, initial, _ = checkpoints("staged")
    stage = ["stage/block/first", "stage/block/second", "stage/after"]
    for unit, row, rows, layers in (("block", 1, 4, stage[:2]), ("stage", 1, 3, stage)):
        found = ask("staged", "valley", final, dense("staged"), initial, unit=unit, places=2, noises=(0.3,), draws=2, batch_norm="reset")
        assert found["error"].shape == (rows, 2, 1)
        for place, a in enumerate((0, 1)):
            networks = [shaken("staged", final, dense("staged"), initial, layers, "reset", a, 0.3, draw) for draw in range(2)]
            near(found["error"][row, place, 0], np.mean([run("staged", one, "train")[0].mean() for one in networks]), 150)
        paths = [path for layer in layers for path in LAYERS["staged"][layer]]
        assert found["distance"][row] == pytest.approx(np.linalg.norm(flat(final, paths) - flat(initial, paths)))


# -- errors ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parents", "options", "message"),
    [
        ("reset", 1, {"unit": "unit"}, "unknown unit 'unit'.*block, layer, stage"),
        ("reset", 1, {"sets": [["output"], ["hiden1"]]}, "unknown layer 'hiden1': did you mean 'hidden1'"),
        ("reset", 1, {"sets": [["output"], []]}, "one is empty"),
        ("reset", 0, {}, "0 checkpoints and 0 draws"),
        ("reset", 1, {"draws": -1}, "1 checkpoints and -1 draws"),
        ("reset", 1, {"batch_norm": "interpolate"}, "unknown policy for batch norm 'interpolate'.*keep, recompute, reset"),
        ("valley", 1, {"unit": "unit"}, "unknown unit 'unit'.*block, layer, stage"),
        ("valley", 1, {"batch_norm": "interpolate"}, "unknown policy for batch norm 'interpolate'.*keep, recompute, reset"),
        ("valley", 1, {"places": 1}, "places = 1.*at least 2 places"),
        ("valley", 1, {"draws": 0}, "draws = 0.*1 draw"),
        ("valley", 1, {"noises": ()}, "noises above 0"),
        ("valley", 1, {"noises": (0.1, 0.0)}, "noises above 0"),
    ],
)
def test_what_cannot_be_asked(kind, parents, options, message):
    final, initial, _ = checkpoints("mlp")
    with pytest.raises(TombolaError, match=message) as error:
        query("mlp", kind, final, dense("mlp"), *[initial] * parents, **options)
    assert "\n" not in str(error.value)
