"""Optimisers, schedules and augmentations of a user's own: from a file on the command line, and in Python."""

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tombola as tb
from tombola.core import trees
from tombola.core.errors import TombolaError
from tombola.core.step import Timeline
from tombola.core.task import Data, Model, Recipe, Task
from tombola.training.optimizers import optimizers
from tombola.training.schedules import learning_rate

MINE = '''
import jax
import jax.numpy as jnp
import optax
import tombola as tb


@tb.optimizers.register
def lion(recipe, *, b1=0.9, b2=0.99):
    """Lion (Chen et al. 2023), with decoupled weight decay."""
    return optax.chain(optax.scale_by_lion(b1, b2), optax.add_decayed_weights(recipe.weight_decay))


@tb.schedules.register
def root(recipe, timeline, *, offset=1.0):
    """1 / sqrt(offset + t)."""
    return lambda t: 1 / jnp.sqrt(offset + t)


@tb.augmentations.register
def jitter(key, inputs):
    """Normal noise of standard deviation 0.1."""
    return inputs + 0.1 * jax.random.normal(key, inputs.shape)
'''


def digits(augment="none", **recipe):
    common = {"steps": "20it", "batch": 60, "learning_rate": 1e-2, "evaluate_every": "10it"}
    return Task(
        data=Data(name="digits", augment=augment), model=Model(name="mlp", options={"widths": [8]}), recipe=Recipe(**(common | recipe))
    )


@pytest.fixture
def mine(monkeypatch):
    """The user's file, loaded for one test."""
    for registry in (tb.optimizers, tb.schedules, tb.augmentations):
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))
    exec(MINE, {"__name__": "mine"})


@pytest.mark.slow
def test_lion_steps_by_the_sign_of_its_formula(mine):
    """U = sign(b1 m + (1 - b1) g) + decay w, m <- b2 m + (1 - b2) g: with b1 = 0 the first step is the gradient's sign."""
    task = digits(optimizer="lion", optimizer_options={"b1": 0.0}, steps="1it", weight_decay=0.5)
    run, slope = tb.train(task, seed=4), tb.train(digits(optimizer="sgd", steps="1it", learning_rate=1e4), seed=4)
    for path, leaf in run.initial.items():
        gradient = slope.initial[path] - slope.final[path]
        np.testing.assert_allclose(run.final[path], leaf - 0.01 * (np.sign(gradient) + 0.5 * leaf), rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_options_reach_the_optimizer_and_are_told_in_the_digest(mine):
    default, other = digits(optimizer="lion"), digits(optimizer="lion", optimizer_options={"b1": 0.5})
    assert default.digest != other.digest
    assert not trees.equal(tb.train(default).final, tb.train(other).final)
    slow = digits(optimizer_options={"b1": 0.5, "eps": 1e-3})
    assert not trees.equal(tb.train(slow).final, tb.train(digits()).final)
    assert digits(optimizer_options={}).digest == digits().digest  # the default is left out


def test_adam_with_options_is_optax_adam():
    task = digits(optimizer_options={"b1": 0.5, "b2": 0.9, "eps": 1e-3}, steps="2it")
    run, slope = tb.train(task, keep=["1it"]), tb.train(digits(optimizer="sgd", steps="1it", learning_rate=1.0))
    first = {path: slope.initial[path] - slope.final[path] for path in slope.initial}
    rule = optax.adam(0.01, 0.5, 0.9, 1e-3)
    update, _ = rule.update(first, rule.init(run.initial), run.initial)
    for path, leaf in run.at("1it").items():
        np.testing.assert_allclose(leaf, run.initial[path] + update[path], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", [*optimizers, "lion"])
def test_where_the_mask_is_0_a_weight_is_held_by_every_optimizer(optimizer, weight_decay, mine):
    task = digits(optimizer=optimizer, weight_decay=weight_decay)
    random = np.random.default_rng(0)
    first = tb.train(digits(steps="1it"), 2)
    mask = {path: random.random(leaf.shape) < 0.4 for path, leaf in first.mask.items()}
    start = {path: leaf.copy() for path, leaf in first.initial.items()}
    for path, kept in mask.items():
        start[path][~kept] = random.choice(np.float32([0.0, -0.0, 1e-30, -0.7]), np.sum(~kept))
    run = tb.train(task, start=start, mask=mask)
    for path, kept in mask.items():
        assert run.final[path][~kept].tobytes() == start[path][~kept].tobytes()
        assert (run.final[path] != start[path])[kept].any()


def test_a_schedule_of_ones_own_is_a_factor_of_the_rate(mine):
    rate = learning_rate(digits(schedule="root", schedule_options={"offset": 4.0}, warmup="10it").recipe, Timeline(20, 19))
    np.testing.assert_allclose([rate(0.1, 0), rate(0.1, 12)], [0.1 / 2 * 0.1, 0.1 / 4], rtol=1e-6)
    assert not trees.equal(tb.train(digits(schedule="root")).final, tb.train(digits()).final)


def test_an_augmentation_of_ones_own_takes_inputs_of_any_shape(mine):
    once, again, plain = (tb.train(digits(augment), seed=1).final for augment in ("jitter", "jitter", "none"))
    assert trees.equal(once, again)
    assert not trees.equal(once, plain)
    assert not trees.equal(tb.train(digits("jitter"), seed=1, noise={"augmentation": "other"}).final, once)


def raising(*given):
    raise ValueError("boo\nhoo")


def test_an_initializer_of_ones_own_that_fails_is_named():
    for made, words in (
        (raising, r"'raising' fails: ValueError: boo; it is called with \(key, shape\)"),
        (lambda key, shape: key, "must return an"),
    ):
        with pytest.raises(TombolaError, match=f"^initializer .*{words}"):
            tb.train(digits().but(model=Model(name="mlp", options={"widths": [8]}, initializer=made)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"optimizer": "lionn"}, "unknown optimizer 'lionn': did you mean 'lion'"),
        ({"optimizer": "lion", "optimizer_options": {"b3": 1}}, "optimizer 'lion': got an unexpected keyword argument 'b3'"),
        ({"optimizer": "sgd", "optimizer_options": {"b1": 0.5}}, "optimizer 'sgd': got an unexpected .* 'b1'"),
        ({"optimizer": "adam", "momentum": 0.8}, "momentum = 0.8, but optimizer 'adam' does not use it; leave it at 0.9"),
        ({"optimizer": "undecayed", "weight_decay": 0.1}, "weight_decay = 0.1, but optimizer 'undecayed' does not use it; leave it at 0.0"),
        ({"milestones": ("9it",)}, "milestones = .* but schedule 'constant' does not use it"),
        ({"schedule": "cosine", "decay": 0.5}, "decay = 0.5, but schedule 'cosine' does not use it"),
        ({"optimizer": 3}, "optimizer 3: give a name, or a function"),
        ({"optimizer": "whole"}, "optimizer 'whole' steps along the gradient, .* optax.scale_by_lion"),
        ({"optimizer": "nothing"}, "optimizer 'nothing' must return an optax.GradientTransformation, .* not int"),
        ({"optimizer": "broken"}, "optimizer 'broken' must work as .* but it fails"),
        ({"optimizer": "raising"}, r"optimizer 'raising' fails: ValueError: boo; it is called with \(recipe\)$"),
        ({"optimizer": optax.lion}, r"optimizer 'lion' fails: TypeError: .*; it is called with \(recipe\)$"),
        ({"optimizer": optax.lion(1e-3)}, r"optimizer is given as a Gradient\w+; give a name, .* it is called with \(recipe\)$"),
        ({"optimizer": "takes_nothing"}, r"'takes_nothing': too many .*; it takes nothing; it is called with \(recipe\)$"),
        ({"schedule": "raising"}, r"schedule 'raising' fails: ValueError: boo; it is called with \(recipe, timeline\)$"),
        ({"augment": "three"}, r"augmentation 'three' must return .* \(60, 64\), not \(3, 64\)"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin': did you mean 'cosine'"),
        ({"schedule": "root", "schedule_options": {"of": 1}}, "schedule 'root': got an unexpected .* 'of'"),
        ({"schedule": "vector"}, "schedule 'vector' must return .* one number, not an array of shape \\(2,\\)"),
        ({"schedule": "failing"}, "schedule 'failing' must return a function of the iteration, but it fails"),
        ({"augment": "jiter"}, "unknown augmentation 'jiter': did you mean 'jitter'.* none"),
        ({"augment": "flip_crop"}, "augment 'flip_crop' needs images .* digits has shape \\(64,\\); set augment to 'none'"),
        ({"augment": "halved"}, "augmentation 'halved' must return a batch of the shape that it is given, \\(60, 64\\)"),
        ({"augment": "typo"}, "augmentation 'typo' fails on a batch of digits"),
    ],
)
def test_mistakes_are_one_line(fields, words, mine):
    tb.optimizers.add("whole", lambda recipe: optax.lion(recipe.learning_rate))
    tb.optimizers.add("undecayed", lambda recipe: optax.scale_by_lion())
    tb.optimizers.add("nothing", lambda recipe: 3)
    tb.optimizers.add("broken", lambda recipe: optax.GradientTransformation(lambda w: (), lambda g, m, w: 1 / 0))
    tb.optimizers.add("raising", raising)
    tb.optimizers.add("takes_nothing", lambda: optax.scale_by_lion())
    tb.schedules.add("raising", raising)
    tb.augmentations.add("three", lambda key, inputs: inputs[:3])
    tb.schedules.add("vector", lambda recipe, timeline: lambda t: jnp.stack([t, t]))
    tb.schedules.add("failing", lambda recipe, timeline: 0.5)
    tb.augmentations.add("halved", lambda key, inputs: inputs[:, ::2])
    tb.augmentations.add("typo", lambda key, inputs: inputs.no_such_thing())
    with pytest.raises(TombolaError, match=words) as error:
        tb.train(digits(**fields))
    assert "\n" not in str(error.value)


def tombola(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "tombola", *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    small = ["--scale", "smoke", "--task", "digits-mlp", "--replicates", "1", "--set", "levels=1", "--set", "steps=20it"]
    own = ["optimizer=lion", "optimizer_options.b1=0.8", "schedule=root", "augment=jitter"]
    given = ["frankle2019.sparsity", *small, *(text for setting in own for text in ("--set", setting)), "--load", "mine.py"]
    done = tombola(tmp_path, "run", *given)
    assert done.returncode == 0, done.stderr
    (spec, *_) = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/spec.json")]
    recipe = spec["task"]["recipe"]
    names = [recipe["optimizer"], recipe["schedule"], spec["task"]["data"]["augment"]]
    assert [name.partition("@")[0] for name in names] == ["lion", "root", "jitter"]
    assert all(len(name.partition("@")[2]) == 16 for name in names)  # the digest of its code
    assert recipe["optimizer_options"] == {"b1": 0.8}
    wrong = tombola(tmp_path, "run", *given, "--set", "optimizer_options.b3=1")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert "optimizer 'lion'" in wrong.stderr
    assert "b3" in wrong.stderr
