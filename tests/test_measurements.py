"""Kinds of measurement: lines between networks, layer by layer, planes; against networks that are made and evaluated one by one."""

from functools import cache

import numpy as np
import pytest
from flax import nnx

from tombola.api.train import train
from tombola.core.errors import TombolaError
from tombola.core.task import Data, Model, Recipe, Task
from tombola.core.trees import replica
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.evaluation.barrier import barrier
from tombola.evaluation.weight_combinations import WeightCombinations, evaluate
from tombola.models.custom import from_class
from tombola.procedures.measurements import Context, measurements
from tombola.surgery.permute import permute
from tombola.training.cohort import setup

SEED = 5


class Normed(nnx.Module):
    """Hidden layer with batch norm."""

    def __init__(self, shape, classes, *, rngs):
        self.hidden = nnx.Linear(shape[0], 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.output = nnx.Linear(8, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(nnx.relu(self.norm(self.hidden(inputs))))


DATA = Data(name="digits", train=150, validation=50, test=100, label_noise=0.3)
MODELS = {"mlp": Model(name="mlp", options={"widths": [10, 8]}), "normed": from_class(Normed)}


def task_of(name):
    return Task(data=DATA, model=MODELS[name], recipe=Recipe(steps="120it", batch=30, learning_rate=1e-2))


@cache
def network_of(name):
    return setup(task_of(name), load(DATA)).network


@cache
def trained(name):
    return train(task_of(name), 4)


def weights_of(name, seed):
    return replica(trained(name).final, seed)


def ask(name, kind, *parents, **options):
    query = measurements[kind](Context(network_of(name), SEED), *parents, **options)
    return query.read(evaluate(task_of(name), load(DATA), query.networks))


def scores_of(name, weights, recompute=False):
    """Of one network that is not mixed."""
    return evaluate(task_of(name), load(DATA), WeightCombinations(SEED, (weights,), np.ones((1, 1)), np.array([recompute])))


def between(first, second, a, paths=None):
    """a W + (1 - a) W' on the leaves `paths`; the others are those of W."""
    return {
        path: (a * np.float64(leaf) + (1 - a) * np.float64(second[path])).astype(np.float32) if paths is None or path in paths else leaf
        for path, leaf in first.items()
    }


def flat(name, tree):
    return np.concatenate([np.ravel(tree[path]) for path in network_of(name).shapes if path in network_of(name).trainable]).astype(float)


def near(found, expected, examples):
    """Errors are equal but for an example that rounding may put into another class."""
    np.testing.assert_allclose(found, expected, atol=1.5 / examples)


# -- lines -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_path_tells():
    first, second, start, initial = (weights_of("mlp", seed) for seed in range(4))
    mask = {"hidden1/kernel": np.arange(640).reshape(64, 10) % 3 == 0}
    found = ask("mlp", "path", first, second, start, initial, mask, points=4, train=70)
    assert found["a"].tolist() == pytest.approx([0, 1 / 3, 1 / 2, 2 / 3, 1])
    labels = split(load(DATA), DATA, SEED)
    labels = {"train": labels.targets[labels.train[:70]], "test": load(DATA).test_targets}
    ends = [scores_of("mlp", one) for one in (first, second)]
    for part, examples in (("train", 70), ("test", 100)):
        for point, a in enumerate(found["a"]):
            alone = scores_of("mlp", between(first, second, a))[part]
            wrong = alone.prediction[0, :examples] != labels[part]
            near(found[f"{part}_error"][point], wrong.mean(), examples)
            if part == "test":
                assert found["test_loss"][point] == pytest.approx(alone.loss[0], rel=1e-4)
        assert np.ptp(found[f"{part}_error"]) > 0.1
        one, other = (end[part].prediction[0, :examples] for end in ends)
        assert found[f"{part}_own"].tolist() == [np.mean(one != labels[part]), np.mean(other != labels[part])]
        assert found[f"{part}_disagreement"] == np.mean(one != other)
        assert found[f"{part}_error"][[-1, 0]].tolist() == found[f"{part}_own"].tolist()
        assert found[f"{part}_examples"] == examples
        assert found[f"{part}_chance"] == min(np.mean(labels[part] != constant) for constant in range(10))
    apart = flat("mlp", first) - flat("mlp", second)
    assert found["distance"] == pytest.approx(np.sqrt(apart @ apart))
    norms = [np.linalg.norm(flat("mlp", one)) for one in (first, second)]
    assert found["cosine"] == pytest.approx(flat("mlp", first) @ flat("mlp", second) / np.prod(norms))
    for name, before in (("since_start", start), ("since_initial", initial)):
        kept = {**before, "hidden1/kernel": before["hidden1/kernel"] * mask["hidden1/kernel"]}
        assert found[name] == pytest.approx([np.linalg.norm(flat("mlp", one) - flat("mlp", kept)) for one in (first, second)])


def test_a_path_alone_tells_of_no_distance_travelled():
    found = ask("mlp", "path", weights_of("mlp", 0), weights_of("mlp", 1), points=2)
    assert not [name for name in found if name.startswith("since")]


def test_units_in_another_order_are_no_barrier_once_they_are_matched():
    first = weights_of("mlp", 0)
    second = permute(first, network_of("mlp").units, {"hidden1": np.roll(np.arange(10), 3), "hidden2": np.arange(8)[::-1]})
    plain, matched = (ask("mlp", "path", first, second, points=5, matched=matched) for matched in (False, True))
    assert plain["distance"] > 1
    assert (matched["distance"], matched["cosine"]) == (0, pytest.approx(1))
    for part in ("train", "test"):
        assert barrier(plain[f"{part}_error"], plain["a"]) > 0.1
        assert len(set(matched[f"{part}_error"])) == 1
        assert barrier(matched[f"{part}_error"], matched["a"]) == 0


@pytest.mark.slow
def test_policies_for_batch_norm_differ_and_networks_keep_their_own_error():
    first, second = (weights_of("normed", seed) for seed in (1, 2))
    anew, kept = (ask("normed", "path", first, second, points=3, batch_norm=policy) for policy in ("recompute", "interpolate"))
    ends = [scores_of("normed", one) for one in (first, second)]
    for part, examples in (("train", 150), ("test", 100)):
        own = [end[part].error[0] for end in ends]
        assert anew[f"{part}_own"].tolist() == kept[f"{part}_own"].tolist() == own
        assert anew[f"{part}_disagreement"] == kept[f"{part}_disagreement"] == np.mean(ends[0][part].prediction != ends[1][part].prediction)
        assert kept[f"{part}_error"][[-1, 0]].tolist() == own
        assert not np.allclose(anew[f"{part}_loss"], kept[f"{part}_loss"], rtol=1e-2)
        for point, a in enumerate(anew["a"]):
            near(anew[f"{part}_error"][point], scores_of("normed", between(first, second, a), True)[part].error[0], examples)
            near(kept[f"{part}_error"][point], scores_of("normed", between(first, second, a))[part].error[0], examples)
    assert anew["distance"] == pytest.approx(np.linalg.norm(flat("normed", first) - flat("normed", second)))


def test_without_batch_norm_policies_are_one():
    first, second = weights_of("mlp", 0), weights_of("mlp", 1)
    for kind in ("path", "layers"):
        anew, kept = (ask("mlp", kind, first, second, points=3, batch_norm=policy) for policy in ("recompute", "interpolate"))
        assert anew.keys() == kept.keys()
        for name in anew:
            np.testing.assert_array_equal(anew[name], kept[name])


@pytest.mark.parametrize("kind", ["path", "layers"])
def test_equal_networks_are_no_path(kind):
    first = weights_of("normed", 0)
    only_statistics = {**first, "norm/mean": first["norm/mean"] + 1}
    for second in (first, only_statistics):
        with pytest.raises(TombolaError, match=r"are equal.*SGD noise") as error:
            ask("normed", kind, first, second)
        assert "\n" not in str(error.value)


# -- layers and planes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "policy"), [("mlp", "recompute"), ("normed", "recompute"), ("normed", "interpolate")])
def test_one_layer_moves_and_the_others_stay(name, policy):
    first, second = (weights_of(name, seed) for seed in (1, 2))
    found = ask(name, "layers", first, second, points=2, batch_norm=policy)
    assert found["a"].tolist() == [0, 0.5, 1]
    names = [f"{index:03d}/{layer.name}" for index, layer in enumerate(network_of(name).layers)]
    assert [key for key in found if key.startswith("distance/")] == [f"distance/{one}" for one in names]
    for part, examples in (("train", 150), ("test", 100)):
        ends = [scores_of(name, one, policy == "recompute")[part].error[0] for one in (first, second)]
        assert found[f"{part}_ends"].tolist() == ends
        assert found[f"{part}_own"].tolist() == [scores_of(name, one)[part].error[0] for one in (first, second)]
        assert found[f"{part}_examples"] == examples
        for one, layer in zip(names, network_of(name).layers, strict=True):
            assert found[f"{part}_error/{one}"][-1] == ends[0]
            for point, a in enumerate(found["a"]):
                alone = scores_of(name, between(first, second, a, layer.paths), policy == "recompute")[part]
                near(found[f"{part}_error/{one}"][point], alone.error[0], examples)
    for one, layer in zip(names, network_of(name).layers, strict=True):
        leaves = [path for path in layer.paths if path in network_of(name).trainable]
        squares = [np.square(np.float64(first[path]) - second[path]).sum() for path in leaves]
        assert found[f"distance/{one}"] == pytest.approx(np.sqrt(sum(squares)))


@pytest.mark.parametrize("name", ["mlp", "normed"])
def test_a_plane_goes_through_its_three_networks(name):
    three = [weights_of(name, seed) for seed in (1, 2, 3)]
    found = ask(name, "plane", *three, grid=4, margin=0.5)
    corners, flats = found["networks"], [flat(name, one) for one in three]
    assert corners[0].tolist() == [0, 0]
    assert corners[1][1] == 0 < corners[2][1]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(corners[one] - corners[other]) == pytest.approx(np.linalg.norm(flats[one] - flats[other]))
    low, wide = corners.min(0), np.ptp(corners, axis=0)
    for axis, values in enumerate((found["x"], found["y"])):
        assert values == pytest.approx(np.linspace(low[axis] - 0.5 * wide[axis], low[axis] + 1.5 * wide[axis], 4))
    for part, examples in (("train", 150), ("test", 100)):
        assert found[f"{part}_networks"].tolist() == [scores_of(name, one, True)[part].error[0] for one in three]
        assert found[f"{part}_error"].shape == (4, 4)
        for row, column in ((0, 3), (2, 1), (3, 0)):
            third = found["y"][row] / corners[2][1]
            second = (found["x"][column] - third * corners[2][0]) / corners[1][0]
            there = {
                path: (leaf + second * (np.float64(three[1][path]) - leaf) + third * (np.float64(three[2][path]) - leaf)).astype(np.float32)
                for path, leaf in three[0].items()
            }
            near(found[f"{part}_error"][row, column], scores_of(name, there, True)[part].error[0], examples)


def test_networks_on_one_line_span_no_plane():
    first, second = weights_of("mlp", 0), weights_of("mlp", 1)
    middle = between(first, second, 0.5)
    for three in (
        (first, second, middle),
        (middle, first, second),
        (first, first, second),
        (first, second, first),
        (first, second, second),
    ):
        with pytest.raises(TombolaError, match="only if none is on the line") as error:
            ask("mlp", "plane", *three)
        assert "\n" not in str(error.value)
