"""Attacks: closed forms of linear networks, foolbox where it is installed, and what must hold of every network."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import own_test_set

import tombola as tb
from tombola.api.session import Session
from tombola.core.errors import TombolaError
from tombola.data.dataset import load
from tombola.engine.resolved import resolved
from tombola.evaluation import attacks
from tombola.evaluation.adversary import Adversary
from tombola.evaluation.attacks import ATTACKS, Ball
from tombola.evaluation.plausibility import Plausibility
from tombola.objectives.adversarial import Adversarial
from tombola.procedures.measurement import Measurement
from tombola.training.cost import step_operations

KEY = jax.random.key(0)
FREE = Ball(0.05, -jnp.inf, jnp.inf)
RANDOM = np.random.default_rng(0)
WEIGHTS, INPUTS = RANDOM.normal(size=(12, 2)).astype(np.float32), RANDOM.random((40, 12)).astype(np.float32)


def linear(x):
    return x.reshape(len(x), -1) @ WEIGHTS


def curved(x):
    hidden = jnp.tanh(x.reshape(len(x), -1) @ RIGHT[0])
    return hidden @ RIGHT[1]


RIGHT = RANDOM.normal(size=(12, 16)).astype(np.float32), RANDOM.normal(size=(16, 4)).astype(np.float32)
LABELS = {linear: np.asarray(linear(INPUTS)).argmax(1), curved: np.asarray(curved(INPUTS)).argmax(1)}


@cache
def attacked(name, logits, ball=None, **options):
    attack = {**ATTACKS, "deepfool": attacks.deepfool}[name]
    return np.asarray(attack(logits, jnp.asarray(INPUTS), jnp.asarray(LABELS[logits]), ball or FREE, KEY, **options))


def margins(logits, x):
    return np.asarray(attacks.margin(logits(jnp.asarray(x)), jnp.asarray(LABELS[logits])))


# -- closed forms -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_a_linear_network_gradients_find_the_worst_case_and_chance_does_not():
    worst = margins(linear, INPUTS) + 0.05 * abs(WEIGHTS[:, 0] - WEIGHTS[:, 1]).sum()
    np.testing.assert_allclose(margins(linear, attacked("fgsm", linear)), worst, rtol=1e-4)
    found = margins(linear, attacked("pgd", linear))
    np.testing.assert_array_equal(found > 0, worst > 0)  # the first point that fools is taken: it need not be the worst
    np.testing.assert_allclose(found[worst < 0], worst[worst < 0], rtol=1e-4)
    for name in ("square", "random"):
        found = margins(linear, attacked(name, linear))
        assert (found <= worst + 1e-4).all()
        assert (found > margins(linear, INPUTS)).all()
    assert margins(linear, attacked("random", linear)).mean() < margins(linear, attacked("square", linear)).mean() <= worst.mean() + 1e-4


def test_of_a_linear_network_deepfool_goes_straight_to_the_boundary():
    moved = attacked("deepfool", linear)
    distance = np.sqrt(((moved - INPUTS) ** 2).sum(1))
    np.testing.assert_allclose(distance, 1.02 * abs(margins(linear, INPUTS)) / np.linalg.norm(WEIGHTS[:, 0] - WEIGHTS[:, 1]), rtol=1e-3)
    assert (margins(linear, moved) > 0).all()


@pytest.mark.slow
def test_square_search_moves_whole_windows_of_images():
    kernel = RANDOM.normal(size=(6 * 5 * 2, 3)).astype(np.float32)
    images = jnp.asarray(RANDOM.random((3, 6, 5, 2)).astype(np.float32))
    logits = lambda x: x.reshape(len(x), -1) @ kernel  # noqa: E731
    labels = logits(images).argmax(1)
    one = np.asarray(attacks.square(logits, images, labels, FREE, KEY, steps=1)) - images
    assert (abs(abs(one) - 0.05) < 1e-6).all()
    many = np.asarray(attacks.square(logits, images, labels, FREE, KEY, steps=200)) - images
    assert (abs(abs(many) - 0.05) < 1e-6).all()
    values = [float(attacks.margin(logits(images + moved), labels).sum()) for moved in (0, one, many)]
    assert values[0] < values[1] < values[2]


@pytest.mark.parametrize("name", [*ATTACKS, "deepfool"])
def test_attacks_stay_in_the_ball_and_ignore_a_constant_added_to_logits(name):
    logits = curved
    fixed = np.full(12, 0.05, np.float32)
    fixed[3] = 0
    grid = np.zeros(12, np.float32)
    grid[5] = 0.02
    ball = Ball(fixed, np.float32(0.1), np.float32(0.9), grid)
    moved = np.asarray({**ATTACKS, "deepfool": attacks.deepfool}[name](logits, jnp.asarray(INPUTS), jnp.asarray(LABELS[logits]), ball, KEY))
    assert np.array_equal(moved[:, 3], INPUTS[:, 3])
    change = moved - INPUTS
    inside = (moved >= 0.1 - 1e-6) & (moved <= 0.9 + 1e-6)
    assert (inside | (abs(change) < 1e-6) | ((INPUTS < 0.1) | (INPUTS > 0.9))).all()
    if name in ("pgd", "square", "random"):
        steps = change[:, 5] / 0.02
        assert (abs(steps - np.round(steps)) < 1e-3).all()
        assert abs(steps).max() == pytest.approx(2, abs=1e-3)  # 0.05 holds two steps
    if name == "deepfool":  # it stops at the boundary, where rounding decides
        return
    assert (abs(change) <= fixed + 1e-6).all()
    shifted = {**ATTACKS, "deepfool": attacks.deepfool}[name](
        lambda x: logits(x) + 64.0, jnp.asarray(INPUTS), jnp.asarray(LABELS[logits]), ball, KEY
    )
    fooled = [np.asarray(attacks.wrong(logits, jnp.asarray(x), jnp.asarray(LABELS[logits]))) for x in (moved, shifted)]
    assert (fooled[0] != fooled[1]).mean() <= 0.05


def test_pgd_fools_what_fgsm_fools_and_saturated_networks_too():
    ball = Ball(0.2, -jnp.inf, jnp.inf)
    fgsm, pgd = ((margins(curved, attacked(name, curved, ball)) > 0) for name in ("fgsm", "pgd"))
    assert pgd.sum() >= fgsm.sum() > 0
    sure = lambda x: 1e4 * curved(x)  # noqa: E731  (the cross-entropy's gradient is 0 there)
    labels = jnp.asarray(LABELS[curved])
    x = jnp.asarray(INPUTS)
    assert np.asarray(attacks.wrong(sure, attacks.pgd(sure, x, labels, ball, KEY), labels)).sum() >= 0.95 * pgd.sum()
    one = attacks.pgd(curved, x, labels, ball, KEY, steps=2, restarts=1)
    assert np.asarray(attacks.wrong(curved, one, labels)).sum() <= pgd.sum()


@pytest.mark.slow
def test_attacks_agree_with_foolbox():
    foolbox = pytest.importorskip("foolbox")
    model, labels = foolbox.JAXModel(curved, bounds=(-10, 10)), jnp.asarray(LABELS[curved])
    theirs = np.asarray(foolbox.attacks.LinfFastGradientAttack()(model, jnp.asarray(INPUTS), labels, epsilons=0.1)[1])
    ours = attacked("fgsm", curved, Ball(0.1, -jnp.inf, jnp.inf))
    np.testing.assert_allclose(theirs, ours, atol=1e-6)
    pgd = foolbox.attacks.LinfPGD(abs_stepsize=0.00625, steps=40)
    fooled = np.asarray(pgd(model, jnp.asarray(INPUTS), labels, epsilons=0.1)[2])
    mine = margins(curved, attacked("pgd", curved, Ball(0.1, -jnp.inf, jnp.inf))) > 0
    assert (mine >= fooled).mean() >= 0.97
    theirs = np.asarray(foolbox.attacks.L2DeepFoolAttack(overshoot=0.02)(model, jnp.asarray(INPUTS), labels, epsilons=None)[1])
    sizes = [np.sqrt(((x - INPUTS) ** 2).sum(1)) for x in (theirs, attacked("deepfool", curved))]
    assert np.corrcoef(*sizes)[0, 1] > 0.99
    assert np.median(sizes[1] / sizes[0]) == pytest.approx(1, abs=0.03)


# -- networks of tasks --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    return tb.train(tb.task("digits-20-mlp", steps="150it"), replicates=2)


@pytest.mark.slow
def test_what_is_left_of_a_network_falls_with_the_radius_and_is_the_least_of_all_attacks(trained):
    found = tb.attack(trained.task, trained.final, eps=[0.02, 0.1, 0.5], examples=100, steps=10, restarts=2)
    assert found.robust.shape == (2, 3)
    assert (np.diff(np.concatenate([found.clean[:, None], found.robust], axis=1)) <= 0).all()
    assert (found.robust[:, 2] < 0.05).all()
    assert (found.robust <= np.min([*found.by_attack.values()], axis=0)).all()
    assert (found.by_attack["pgd"] <= found.by_attack["fgsm"]).all()
    assert (found.by_attack["pgd"][:, 1] < found.by_attack["random"][:, 1]).all()
    own = [own_test_set(trained.task, seed) for seed in trained.seeds]
    said = [tb.predict(trained.task, trained.final, inputs[:100], scaled=True)[i].argmax(-1) for i, (inputs, _) in enumerate(own)]
    np.testing.assert_allclose(found.clean, [(one == targets[:100]).mean() for one, (_, targets) in zip(said, own, strict=True)])
    assert (found.distance > 0.05).all()
    assert np.array_equal(found.original[0], own[0][0][:8])
    assert abs(found.picture - found.original).max() == pytest.approx(0.5, abs=1e-5)
    assert found.picture.min() >= 0
    assert found.picture.max() <= 1


def test_balls_follow_the_data_and_the_unit():
    task = tb.task("digits-20-mlp")
    foe, pool = Adversary(task, load(task.data), 0), load(task.data).inputs
    assert (foe.ball(0.1).radius == np.float32(0.1)).all()
    assert foe.ball(0.1).high == 1
    ranged = foe.ball(0.1, "range", fixed=[2], whole=[3])
    expected = np.float32(0.1) * (pool.max(0) - pool.min(0))
    expected[2] = 0
    np.testing.assert_allclose(ranged.radius, expected, rtol=1e-6)
    assert np.flatnonzero(ranged.spacing).tolist() == [3]
    assert ranged.spacing[3] == pytest.approx(1 / 16)
    np.testing.assert_allclose(foe.ball(0.1, "std").radius, 0.1 * pool.std(0), rtol=1e-5)
    assert np.array_equal(ranged.high, pool.max(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, r"eps = \[0.0\]; give one network and one radius above 0 at least"),
        ({"attacks": ["fgsm", "x"]}, "unknown attack 'x': one of fgsm, pgd, random, square"),
        ({"unit": "x"}, "unknown unit 'x'"),
        ({"steps": 0}, "steps = 0, but a whole number is needed, 1 or more"),
        ({"fixed": [64]}, "feature 64 is asked to stay, or to be whole, but an input has 64; count from 0"),
        ({"attacks": []}, r"attacks = \[\]; name one or more"),
    ],
)
def test_what_cannot_be_attacked_is_one_line(trained, options, message):
    with pytest.raises(TombolaError, match=message):
        tb.attack(trained.task, trained.final, **{"eps": 0.1, "examples": 5, **options})


def test_only_classifiers_can_be_attacked():
    task = tb.task("diabetes-mlp", steps="1it")
    with pytest.raises(TombolaError, match="the data set diabetes has no classes to be taken for another; take another task"):
        tb.attack(task, tb.train(task).final, eps=0.1)


# -- adversarial training -----------------------------------------------------------------------------------------------


def test_batches_are_moved_within_the_ball_to_raise_the_loss():
    objective, labels = Adversarial(eps=0.1, steps=5, within=((0.0,), (1.0,), (2.0,))), jnp.asarray(LABELS[curved])
    moved, targets = objective.batch(KEY, (jnp.asarray(INPUTS), labels), curved)
    assert targets is labels
    change = np.asarray(moved) - INPUTS
    assert abs(change).max() == pytest.approx(0.2, abs=1e-6)  # two units of input a unit of eps
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert (objective.loss(curved(moved), labels) > objective.loss(curved(INPUTS), labels)).all()
    small = objective.but(size=0.001).batch(KEY, (jnp.asarray(INPUTS), labels), curved)[0]
    assert objective.loss(curved(small), labels).mean() < objective.loss(curved(moved), labels).mean()


def test_a_step_is_estimated_by_all_its_gradients():
    standard = tb.task("digits-mlp")
    found = [resolved(task, None)[0] for task in (standard, standard.but(objective=Adversarial(steps=7)))]
    assert step_operations(found[1]) == 8 * step_operations(found[0])


def test_the_range_comes_from_the_data():
    assert Adversarial().fitted(load(tb.task("digits-mlp").data)).within == ((0.0,), (1.0,), (1.0,))
    given = Adversarial(within=((0.0,), (9.0,), (1.0,)))
    assert given.fitted(load(tb.task("digits-mlp").data)).within == ((0.0,), (9.0,), (1.0,))


@pytest.mark.slow
def test_adversarial_training_leaves_more_under_attack(trained):
    task = trained.task.but(objective=Adversarial(eps=0.15, steps=3))
    robust = tb.train(task, replicates=2)
    options = {"eps": [0.15], "examples": 100, "steps": 10, "restarts": 1, "attacks": ["pgd"]}
    left = [tb.attack(trained.task, weights, **options).robust.mean() for weights in (trained.final, robust.final)]
    assert left[1] > left[0] + 0.1
    with pytest.raises(TombolaError, match="eps"):
        Adversarial(eps=0.0)


# -- tables -------------------------------------------------------------------------------------------------------------


def test_plausible_rows_are_inside_no_outliers_and_keep_relations():
    random = np.random.default_rng(0)
    shared = random.normal(size=(400, 1))
    rows = np.concatenate([shared + 0.1 * random.normal(size=(400, 1)), shared + 5, np.zeros((400, 1))], axis=1)
    fits = Plausibility(rows, np.repeat([0, 1], 200), [{1: 1.0, 0: -1.0}])
    of = np.zeros(4, int)
    tried = np.array([[0.0, 5.0, 0.0], [2.0, 3.0, 0.0], [0.0, 5.0, 1.0], [99.0, 5.0, 0.0]])
    assert fits.inside(tried).tolist() == [True, True, False, False]
    assert fits.near(tried[:2], of[:2]).tolist() == [True, False]  # both inside each range, the second against the correlation
    assert fits.near(rows[:200], np.zeros(200)).mean() == pytest.approx(0.95, abs=0.006)
    broken = np.array([[6.0, 5.0, 0.0]])
    assert fits.kept(tried[:1], tried[:1]).all()
    assert not fits.kept(broken, tried[:1]).any()
    assert fits.kept(broken, broken).all()  # it was broken before
    assert not fits(broken, tried[:1], of[:1]).any()


@cache
def measured(**options):
    store, task = tb.Store(), tb.task("wine-mlp", steps="60it")
    dense = tb.train(task, replicates=1, store=store)
    said = {"eps": [0.6], "unit": "std", "steps": 8, "restarts": 1, "attacks": ["fgsm", "pgd"], "plausible": True}
    said |= {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    session = Session.of(task, store, None)
    run = dense.runs[0]
    return session.measure([Measurement(task=session.task, seed=run.seed, name="attacked", of=dense.final.refs, options=said)])[0]


def test_only_plausible_rows_count_where_it_is_asked():
    free, bound = measured(bounded=False), measured(bounded=True, fixed=tuple(range(10)), integers=(12,))
    assert free["robust_acc"][0, 0] < free["plausible_acc"][0, 0] <= free["clean_acc"][0]
    back = free["plausible_acc"][0, 0] - free["robust_acc"][0, 0]
    assert free["implausible"][0, 0] == pytest.approx(back / (free["clean_acc"][0] - free["robust_acc"][0, 0]))
    assert bound["robust_acc"][0, 0] > free["robust_acc"][0, 0]
    assert "plausible_acc" not in measured(plausible=False)
    ruled = measured(bounded=False, relations=Rules([{"0": -1.0, "1": 0.0}]))  # what holds of no row before is asked of none
    assert np.array_equal(ruled["plausible_acc"], free["plausible_acc"])


def test_what_rows_cannot_be_asked_is_one_line():
    for options, message in (
        ({"relations": ({"x": 1.0},)}, "write features by their places"),
        ({"relations": ({"13": 1.0},)}, "a relation names feature 13, but a row has 13; count from 0"),
        ({"relations": ({"1": 1.0},), "plausible": False}, "relations say what is plausible; give plausible=true with them"),
    ):
        with pytest.raises(TombolaError, match=message):
            measured(**{name: value for name, value in options.items() if name != "relations"}, relations=Rules(options["relations"]))


class Rules(tuple):
    """A tuple of dictionaries that `cache` takes."""

    def __hash__(self):
        return hash(repr(self))
