"""Masks that move: what is taken is 0 and stays so, gradual pruning, schedules of a user's own, what is kept of masks."""

import json
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from toy_networks import textbook

import tombola as tb
from tombola.core import masks, trees
from tombola.core.errors import TombolaError
from tombola.core.step import Timeline
from tombola.core.task import Data, MaskSchedule, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.training import replica_batch
from tombola.training.cohort import setup, train_cohort
from tombola.training.growth import rigl, sparse_evolution
from tombola.training.mask_schedules import gradual
from tombola.training.optimizers import optimizers
from tombola.training.plan import Plan
from tombola.training.replica import Replica

MINE = '''
import numpy as np
import tombola as tb


@tb.mask_schedules.register
def halving(timeline, kinds, *, every="10it"):
    """The smaller half of each layer's remaining weights goes."""

    def update(random, t, weights, gradient, moments, mask):
        medians = {path: np.median(abs(weights[path][kept])) for path, kept in mask.items()}
        return weights, moments, {path: kept & (abs(weights[path]) >= medians[path]) for path, kept in mask.items()}

    return tb.MaskUpdates(update, timeline.every(every, 10, 20))
'''


def digits(schedule="gradual", options=None, **recipe):
    given = {"final": 0.2, "end": "30it", "every": "10it"} if options is None else options
    common = {"steps": "40it", "batch": 60, "learning_rate": 1e-2, "evaluate_every": "10it"}
    moving = {"mask_schedule": MaskSchedule(name=schedule, options=given)} if schedule else {}
    return Task(data=Data(name="digits"), model=Model(name="mlp", options={"widths": [8, 6]}), recipe=Recipe(**(common | moving | recipe)))


KEEP = frozenset({0, 10, 20, 30, 35, 40})


def members(task, count, **fields):
    network = setup(task, load(task.data)).network
    mask = {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
    return [Replica(seed, **({"start": network.init(seed), "mask": mask, "keep": KEEP} | fields)) for seed in range(count)]


def outcomes(task, some, **options):
    return [outcome for _, outcome in train_cohort(task, load(task.data), some, **options)]


def checkpoints(task, some, monkeypatch):
    """Outcomes, and every checkpoint by (replica, iteration)."""
    monkeypatch.setattr(replica_batch, "CHECKPOINT_SECONDS", -1.0)
    saved = {}
    found = outcomes(task, some, on_checkpoint=lambda index, point: saved.update({(index, point.iteration): point}))
    return found, saved


@pytest.fixture
def mine(monkeypatch):
    """What a test registers, it registers for itself."""
    for registry in (tb.mask_schedules, tb.optimizers):
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))


def lion(recipe):
    return optax.chain(optax.scale_by_lion(), optax.add_decayed_weights(recipe.weight_decay))


def noisy(recipe):
    """One that would move every weight and all its state, whatever the gradient is."""
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.add_noise(0.1, 0.5, 0), optax.trace(0.9), optax.add_decayed_weights(recipe.weight_decay)
    )


# -- the rule ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", [*optimizers, "lion", "noisy"])
def test_what_is_taken_is_0_and_stays_so_with_its_optimizer_state(optimizer, weight_decay, mine, monkeypatch):
    for own in (lion, noisy):
        tb.optimizers.register(own)
    task = digits(optimizer=optimizer, weight_decay=weight_decay)
    (found,), saved = checkpoints(task, members(task, 1), monkeypatch)
    for (_, t), point in saved.items():
        for path, kept in point.masks[t].items():
            assert kept.mean() < 1
            alike = [leaf for leaf in point.state if leaf.shape == kept.shape and leaf.dtype == np.float32]
            assert len(alike) >= 2, path  # the weights, the best of them, and moments where there are some
            for leaf in alike:
                assert leaf[~kept].tobytes() == np.zeros(np.sum(~kept), np.float32).tobytes()
                assert (leaf[kept] != 0).mean() > 0.2
    taken, final = found.masks[20], found.masks[40]
    for path, kept in final.items():
        assert not (kept & ~taken[path]).any()
        assert kept.sum() == round(0.2 * kept.size)
        assert (found.snapshots[40][path] != found.snapshots[30][path])[kept].mean() > 0.2


def plain_loop(task, weights, seed):
    """Gradual pruning of an MLP trained by SGD, in NumPy and float64, as a textbook has it."""
    w = {path: np.array(leaf, np.float64) for path, leaf in weights.items()}
    kept = {path: np.ones(leaf.shape, bool) for path, leaf in w.items() if path.endswith("kernel")}
    for t, gradient in textbook(task, w, seed):
        for path, g in gradient.items():
            w[path] -= 0.1 * g * kept.get(path, 1)
        if t + 1 in (10, 20, 30):
            density = 0.2 + 0.8 * (1 - (t + 1) / 30) ** 3
            for path, mask in kept.items():
                w[path] *= mask
                most = np.sort(abs(w[path]).ravel())[::-1][round(density * mask.size) - 1]
                kept[path] = abs(w[path]) >= most
                w[path] *= kept[path]
    return w, kept


def test_gradual_pruning_is_the_plain_loop():
    task = digits(optimizer="sgd", learning_rate=0.1)
    run = tb.train(task, 2, seed=3)
    for r in range(2):
        expected, kept = plain_loop(task, trees.replica(run.initial, r), run.seeds[r])
        for path, leaf in expected.items():
            np.testing.assert_allclose(run.final[path][r], leaf, rtol=2e-3, atol=2e-5, err_msg=path)
        for path, mask in kept.items():
            np.testing.assert_array_equal(run.mask[path][r], mask)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"shape": "cubic"}, [0.2 + 0.8 * (2 / 3) ** 3, 0.2 + 0.8 / 27, 0.2]),
        ({"shape": "linear", "initial": 0.8}, [0.6, 0.4, 0.2]),
        ({"scope": "global"}, [0.2 + 0.8 * (2 / 3) ** 3, 0.2 + 0.8 / 27, 0.2]),
    ],
)
def test_densities_follow_the_formula(options, expected):
    random, size = np.random.default_rng(0), 100
    found = gradual(Timeline(40, 19), {"a": "dense", "b": "output"}, final=0.2, end="30it", every="10it", **options)
    assert found.steps == {0, 10, 20, 30}
    weights = {"a": random.normal(size=size), "b": 9 + random.normal(size=size)}
    mask = {path: np.ones(size, bool) for path in weights}
    for t, density in zip((10, 20, 30), expected, strict=True):
        before, (*_, mask) = mask, found.update(random, t, weights, None, (), mask)
        assert masks.kept(mask) == (2 * round(density * size) if "scope" not in options else round(density * 2 * size))
        assert all(not (mask[path] & ~before[path]).any() for path in mask)
        if "scope" in options:
            assert mask["b"].sum() == min(size, masks.kept(mask))  # the larger ones
    only = gradual(Timeline(40, 19), {"a": "dense", "b": "output"}, final={"dense": 0.5}, end="1ep")
    *_, mask = only.update(random, 19, weights, None, (), {path: np.ones(size, bool) for path in weights})
    assert (mask["a"].sum(), mask["b"].sum()) == (50, 100)


def test_equal_magnitudes_fall_at_random_not_by_position():
    ones, random = {"a": np.ones((20, 30))}, np.random.default_rng(1)
    kept = masks.highest(ones, {"a": np.ones((20, 30), bool)}, 300, random)["a"]
    assert kept.sum() == 300
    assert 0 < kept.sum(1).min() <= kept.sum(1).max() < 30
    every, needed = np.random.default_rng(2), masks.Ties(np.random.default_rng(2))  # all orders are drawn; those that something hangs on
    for scores in (np.arange(9.0), np.array([np.nan, *range(8)]), np.ones(9), np.arange(9.0)):
        found = [masks.highest({"a": scores}, {"a": np.arange(9) > 0}, 4, random)["a"] for random in (every, needed)]
        assert np.array_equal(*found)
    assert every.random() == needed.random.random()


# -- sparse training: drop and growth --------------------------------------------------------------------------------------


def half(task, share=0.4):
    """A replica with a sparse start mask, whose pruned weights are 0."""
    (dense,), random = members(task, 1), np.random.default_rng(0)
    mask = {path: random.random(leaf.shape) < share for path, leaf in dense.mask.items()}
    start = {path: np.where(mask.get(path, True), leaf, 0).astype(leaf.dtype) for path, leaf in dense.start.items()}
    return [Replica(0, start, mask, keep=frozenset({5, 9, 10, 15, 20, 25, 30, 40}))]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize(("name", "comebacks"), [("set", False), ("set", True), ("rigl", False), ("rigl", True)])
def test_counts_are_constant_at_every_update_and_what_grows_is_0_with_an_empty_state(name, comebacks, optimizer, monkeypatch):
    task = digits(name, {"every": "5it", "drop": 0.5, "comebacks": comebacks}, optimizer=optimizer)
    some = half(task)
    (found,), saved = checkpoints(task, some, monkeypatch)
    updates = [5, 10, 15, 20, 25] + ([30] if name == "set" else [])  # RigL ends at three quarters of 40
    before = some[0].mask
    for t in updates:
        for path, kept in found.masks[t].items():
            grown = kept & ~before[path]
            assert kept.sum() == before[path].sum()
            assert comebacks or grown.sum() > 0
            assert not found.snapshots[t][path][grown].any()
            assert not found.snapshots[t][path][~kept].any()
            for leaf in saved[0, t].state:
                if leaf.shape == kept.shape and leaf.dtype == np.float32 and not (leaf == found.snapshots[9].get(path)).all():
                    assert not leaf[grown].any()
                    assert leaf[kept & before[path]].any()
        before = found.masks[t]
    assert trees.equal(found.masks[40], found.masks[30]) is (name == "rigl")
    assert (found.snapshots[40]["hidden1/kernel"][found.masks[40]["hidden1/kernel"]] != 0).mean() > 0.5


def exchanged(w, kept, growth, count, comebacks):
    """(stay, grown) as lists of places, by sorting."""
    on, off = np.flatnonzero(kept).tolist(), np.flatnonzero(~kept).tolist()
    on.sort(key=lambda place: abs(w[place]))
    dropped, stay = on[:count], on[count:]
    vacant = sorted(off + dropped if comebacks else off, key=lambda place: -abs(growth[place]))
    return sorted(stay), sorted(vacant[:count])


@pytest.mark.parametrize("comebacks", [False, True])
@pytest.mark.parametrize("name", ["set", "rigl"])
def test_an_update_by_hand(name, comebacks):
    random = np.random.default_rng(3)
    w, slope, kept = random.normal(size=90), random.normal(size=90), np.arange(90) % 3 > 0
    slope[np.flatnonzero(kept)[np.argsort(abs(w[kept]))[:4]]] = 9  # of weights that are dropped
    moments = {"a": random.normal(size=90)}
    build = {"set": sparse_evolution, "rigl": rigl}[name]
    updates = build(Timeline(100, 10), {"a": "dense"}, drop=0.3, every="10it", until=0.5, anneal="cosine", comebacks=comebacks)
    assert updates.steps == {10, 20, 30, 40}
    assert updates.gradient is (name == "rigl")
    grown_at = []
    for t, count in ((10, round(18 * (1 + np.cos(np.pi / 5)) / 2)), (40, round(18 * (1 + np.cos(np.pi * 4 / 5)) / 2))):
        gradient = {"a": slope} if name == "rigl" else None
        after, state, new = updates.update(np.random.default_rng(t), t, {"a": w}, gradient, moments, {"a": kept})
        stay, grown = exchanged(w, kept, slope, count, comebacks)
        assert new["a"].sum() == kept.sum()
        assert new["a"][stay].all()
        came = sorted(set(np.flatnonzero(new["a"])) - set(stay))
        assert came == grown if name == "rigl" else came != grown
        assert len(came) == count
        grown_at.append(set(came) & set(np.flatnonzero(kept)))
        assert not after["a"][came].any()
        assert not state["a"][came].any()
        np.testing.assert_array_equal(after["a"][stay], w[stay])
        np.testing.assert_array_equal(state["a"][stay], moments["a"][stay])
    assert any(grown_at) is comebacks
    constant = build(Timeline(100, 10), {"a": "dense"}, drop=0.3, anneal="constant", every="1ep", until=1.0)
    assert constant.steps == set(range(10, 100, 10))
    *_, new = constant.update(np.random.default_rng(0), 90, {"a": w}, {"a": slope} if name == "rigl" else None, (), {"a": kept})
    assert (new["a"] & ~kept).sum() == 18
    # where less is vacant than would be dropped, so much is exchanged
    *_, new = constant.update(
        np.random.default_rng(0), 90, {"a": w}, {"a": slope} if name == "rigl" else None, (), {"a": np.arange(90) > 4}
    )
    assert (new["a"].sum(), new["a"][:5].sum()) == (85, 5)


def test_set_grows_uniformly_from_a_stream_of_the_run():
    kept = np.arange(40) < 20
    updates = sparse_evolution(Timeline(100, 10), {"a": "dense"}, drop=0.2, every="10it")
    hits = np.zeros(40)
    for seed in range(2000):
        *_, new = updates.update(np.random.default_rng(seed), 50, {"a": 1.0 + np.arange(40)}, None, (), {"a": kept})
        hits += new["a"]
    assert not hits[:4].any()
    assert (hits[4:20] == 2000).all()
    assert (abs(hits[20:] - 400) < 5 * np.sqrt(2000 * 0.2 * 0.8)).all()
    task = digits("set", {"every": "10it"})
    one, again = outcomes(task, half(task)), outcomes(task, half(task))
    other = half(task)[0]
    (other,) = outcomes(task, [Replica(1, other.start, other.mask, keep=other.keep)])
    assert trees.equal(one[0].masks[10], again[0].masks[10])
    assert not trees.equal(one[0].masks[10], other.masks[10])


@pytest.mark.parametrize("name", ["gradual", "rigl"])
def test_what_a_schedule_chooses_on_the_device_is_what_its_update_makes_of_everything(name, mine):
    build, options = {"gradual": (gradual, {"final": 0.2, "end": "30it"}), "rigl": (rigl, {})}[name]
    tb.mask_schedules.add("whole", lambda timeline, kinds, **own: build(timeline, kinds, **own)._replace(choose=None))
    tasks = [digits(one, {**options, "every": "5it"}, evaluate_every="5it", optimizer="momentum") for one in (name, "whole")]
    (one,), (whole,) = (outcomes(task, half(task)) for task in tasks)
    assert one.rows == whole.rows
    for t in one.masks:
        assert trees.equal(one.masks[t], whole.masks[t])
        assert trees.equal(one.snapshots[t], whole.snapshots[t])


def test_the_best_network_is_one_under_the_last_mask():
    task = digits(options={"final": 0.02, "end": "30it", "every": "10it"})
    (found,) = outcomes(task, members(task, 1))
    loss = {row[0]: row[1] for row in found.rows}
    assert min(loss, key=loss.get) < 30  # where it had more weights
    assert found.summary["es_step"] == min((30, 40), key=loss.get)


def test_sparse_training_starts_from_a_mask_that_an_action_makes():
    sparse = tb.Action(name="sparse", options={"density": 0.2})
    run = tb.train(digits("rigl", {"every": "10it"}), 2, mask=sparse, keep=["10it"])
    first, moved, last = run.mask_at("0it"), run.mask_at("10it"), run.mask
    assert masks.kept(first) == 2 * round(0.2 * masks.size(first) / 2)
    for path, kept in first.items():
        assert (kept.sum((1, 2)) == last[path].sum((1, 2))).all()
        assert (kept.sum((1, 2)) == moved[path].sum((1, 2))).all()
        assert (kept[0] != kept[1]).any()
    assert not trees.equal(moved, first)
    assert not trees.equal(last, moved)
    again = tb.train(digits(None), start=run.initial, mask=sparse)
    assert trees.equal(again.mask, first)


def test_one_shot_at_any_time_is_gradual_pruning_with_a_single_update():
    run = tb.train(digits(options={"final": 0.1, "end": "15it", "every": "15it"}), keep=["14it", "15it"])
    assert all(kept.all() for kept in run.mask_at("14it").values())
    for kept in run.mask_at("15it").values():
        assert kept.sum() == round(0.1 * kept.size)
    assert trees.equal(run.mask_at("end"), run.mask_at("15it"))


# -- plans, resuming, what is kept ---------------------------------------------------------------------------------------


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(monkeypatch):
    task = digits()
    some = members(task, 2)
    whole, saved = checkpoints(task, some, monkeypatch)
    assert {t for _, t in saved} == {10, 20, 30, 35}
    for t in (10, 20, 35):
        resumed = outcomes(task, [Replica(m.seed, m.start, m.mask, keep=m.keep, resume=saved[i, t]) for i, m in enumerate(some)])
        for one, other in zip(resumed, whole, strict=True):
            assert one.rows == other.rows or np.array_equal(np.array(one.rows), np.array(other.rows), equal_nan=True)
            assert one.summary == other.summary
            for step in KEEP:
                assert trees.equal(one.snapshots[step], other.snapshots[step])
                assert trees.equal(one.masks[step], other.masks[step])


@pytest.mark.slow
def test_replicas_that_share_a_device_move_their_own_masks():
    task = digits(optimizer="momentum", learning_rate=0.1)
    some = members(task, 3)
    layout = Plan(Mesh(np.array(jax.devices()[:1]), ("replica",)), per_device=4, loop=True, evaluation_batch=200)
    for one, other in zip(outcomes(task, some), outcomes(task, some, layout=layout), strict=True):
        assert [row[-1] for row in one.rows] == [row[-1] for row in other.rows]
        for path, kept in one.masks[40].items():
            assert (kept != other.masks[40][path]).mean() < 0.01  # two that nearly tie may change places
        np.testing.assert_allclose(np.array(one.rows)[:, 1], np.array(other.rows)[:, 1], rtol=1e-2)
    late = [Replica(m.seed, m.start, m.mask, begin=20, keep=frozenset({40})) for m in some[:1]] + some[1:]
    found = outcomes(task, late, layout=layout)
    assert [round(row[-1], 3) for row in found[0].rows] == [1, 0.2, 0.2]  # at 20, where it begins, the mask is as it was given


def test_stepped_from_the_host_it_is_the_same():
    task = digits()
    some = members(task, 1)
    layout = Plan(Mesh(np.array(jax.devices()[:1]), ("replica",)), per_device=1, loop=False, evaluation_batch=200)
    (one,), (other,) = outcomes(task, some), outcomes(task, some, layout=layout)
    np.testing.assert_allclose(np.array(one.rows)[:, 1], np.array(other.rows)[:, 1], rtol=1e-3)
    assert masks.density(one.masks[40]) == masks.density(other.masks[40])


def test_masks_are_kept_by_step_and_density_is_a_column():
    run = tb.train(digits(), 2, keep=["20it", "35it"])
    assert list(run.metrics["step"]) == [0, 10, 20, 30, 40]
    for t, density in zip(run.metrics["step"], run.metrics["density"][0], strict=True):
        if t in (0, 20, 40):
            assert density == masks.density(trees.replica(run.mask_at(f"{t}it"), 0))
    for step in ("20it", "35it", "end"):
        for path, kept in run.mask_at(step).items():
            assert not run.at(step)[path][~kept].any()
    assert trees.equal(run.mask_at("end"), run.mask)
    assert run.summary["es_step"].min() >= 30  # the best of the networks under the last mask
    still = tb.train(digits(None), 2)
    assert "density" not in still.metrics
    assert trees.equal(still.mask_at("end"), still.mask)


# -- a user's own --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_schedule_of_ones_own_sees_the_gradient_and_brings_weights_back(mine, monkeypatch):
    """As RigL does (Evci et al. 2020): the smallest go, those of the largest gradient come back, from 0 and with no momentum."""
    seen = {}

    @tb.mask_schedules.register
    def gradient_growth(timeline, kinds, *, share):
        def update(random, t, weights, gradient, moments, mask):
            new = {}
            for path, kept in mask.items():
                count, absent = round(share * kept.sum()), ~kept
                new[path] = masks.highest({path: abs(weights[path])}, {path: kept}, kept.sum() - count, random)[path]
                new[path] |= masks.highest({path: abs(gradient[path])}, {path: absent}, count, random)[path]
            seen[t] = gradient, weights, mask, new
            return weights, moments, new

        return tb.MaskUpdates(update, timeline.every("10it", 10, 30), gradient=True)

    task = digits("gradient_growth", {"share": 0.3}, optimizer="momentum", momentum=0.0, learning_rate=1.0)
    random = np.random.default_rng(0)
    half = {path: random.random(leaf.shape) < 0.5 for path, leaf in members(task, 1)[0].mask.items()}
    start = {path: np.where(half.get(path, True), leaf, 0).astype(leaf.dtype) for path, leaf in members(task, 1)[0].start.items()}
    some = [Replica(0, start, half, keep=frozenset({10, 11, 40}))]
    (found,), saved = checkpoints(task, some, monkeypatch)
    gradient, weights, before, new = seen[10]
    for path, kept in new.items():
        back = kept & ~before[path]
        assert back.sum() == round(0.3 * before[path].sum())
        assert not found.snapshots[10][path][back].any()
        assert (found.snapshots[11][path][back] != 0).any()
        for leaf in saved[0, 10].state:
            if leaf.shape == kept.shape and leaf.dtype == np.float32:
                assert not leaf[~kept].any()
    # The gradient is that of the last batch, by every weight, as a step of plain SGD without a mask shows.
    plain = digits(None, optimizer="sgd", learning_rate=1.0)
    (step,) = outcomes(plain, members(plain, 1, start=weights, begin=9, keep=frozenset({10})))
    for path, leaf in gradient.items():
        np.testing.assert_allclose(weights[path] - step.snapshots[10][path], leaf, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gradul", {}, "unknown mask schedule 'gradul': did you mean 'gradual'"),
        ("gradual", {"end": "30it"}, "mask schedule 'gradual': missing a required argument: 'final'"),
        ("gradual", {"final": 0.1, "end": "30it", "speed": 1}, "mask schedule 'gradual': got an unexpected keyword argument 'speed'"),
        ("gradual", {"final": 0.5, "end": "30it", "initial": 0.3}, "density cannot go from 0.3 to 0.5; write 0 <= final <= initial <= 1"),
        ("gradual", {"final": "x", "end": "30it"}, "density cannot go from 1.0 to 'x'"),
        ("gradual", {"final": 0.1, "end": "10it", "begin": "20it"}, "begin '20it' must lie before end '10it', .* 20 and 10"),
        ("gradual", {"final": 0.1, "end": "50it"}, "step '50it' is iteration 50, after the end of training at 40"),
        ("gradual", {"final": 0.1, "end": "30it", "every": "0it"}, "spacing must be at least 1it"),
        ("gradual", {"final": 0.1, "end": "30it", "shape": "square"}, "unknown shape of gradual 'square': .*cubic, linear"),
        ("gradual", {"final": 0.1, "end": "30it", "scope": "all"}, "unknown scope of gradual 'all': .*global, layer"),
        ("gradual", {"final": {"dens": 0.1}, "end": "30it"}, "unknown kind of layer in final of gradual 'dens': did you mean 'dense'"),
        ("gradual", {"final": {"dense": 0.1}, "end": "30it", "scope": "global"}, "write final as one number"),
        ("set", {"drop": 0}, "set: drop = 0; write a share above 0 and up to 1"),
        ("rigl", {"drop": "x"}, "rigl: drop = 'x'; write a share"),
        ("rigl", {"until": 1.5}, "rigl: until = 1.5; write a share"),
        ("rigl", {"every": "30it"}, "rigl: every '30it' leaves no update before iteration 30, where updates end"),
        ("rigl", {"anneal": "cos"}, "unknown anneal of rigl 'cos': .*cosine"),
        ("set", {"comebacks": "no"}, "set: comebacks = 'no'; write true or false"),
        ("set", {"every": "0it"}, "spacing must be at least 1it"),
        ("set", {"every": "10it"}, "set: every weight is kept, so that none can grow; give a sparse start mask"),
        ("nothing", {}, "mask schedule 'nothing' must return tb.MaskUpdates\\(update, steps\\), not int"),
        ("failing", {}, "mask schedule 'failing' at iteration 10 fails: ZeroDivisionError"),
        ("never", {}, "mask schedule 'never' fails: ValueError: invalid literal .*; it is called with \\(timeline, kinds\\)$"),
        ("none", {}, "mask schedule 'none' must return \\(weights, moments, mask\\) at each update, with dicts by path, not None"),
        ("masks", {}, "mask schedule 'masks' must return \\(stay, mask\\) at each update, with dicts by path, not {'hidden1/kernel'"),
        ("forgetful", {}, "mask schedule 'forgetful' returns other moments than it is given; return these where it changes none"),
        ("late", {}, "mask schedule 'late': its step 400 lies after the end of training at 40; choose steps up to 40"),
        ("lists", {}, "mask 'hidden1/kernel' is list, but a mask is bool"),
        ("numbers", {}, "mask 'hidden1/kernel' is float32, but a mask is bool"),
        ("partly", {}, "mask: 'hidden1/kernel' is missing"),
        ("more", {}, "'more' keeps more of 'hidden1/kernel' at iteration 20 than before; leave out its no_more=True"),
    ],
)
def test_mistakes_are_one_line(name, options, words, mine):
    def schedule(update):
        return lambda timeline, kinds: tb.MaskUpdates(update, [10])

    tb.mask_schedules.add("nothing", lambda timeline, kinds: 3)
    tb.mask_schedules.add("failing", schedule(lambda *given: 1 / 0))
    tb.mask_schedules.add("never", lambda timeline, kinds: int("no"))
    tb.mask_schedules.add("none", schedule(lambda *given: None))
    tb.mask_schedules.add("masks", lambda *given: tb.MaskUpdates(None, [10], choose=lambda random, t, w, g, mask: mask))
    tb.mask_schedules.add("forgetful", schedule(lambda random, t, w, g, m, mask: (w, None, mask)))
    tb.mask_schedules.add("late", lambda timeline, kinds: tb.MaskUpdates(lambda *given: given[2:3] + given[4:], [10, 400]))
    tb.mask_schedules.add("lists", schedule(lambda random, t, w, g, m, mask: (w, m, {path: one.tolist() for path, one in mask.items()})))
    tb.mask_schedules.add("numbers", schedule(lambda random, t, w, g, m, mask: (w, m, {path: w[path] for path in mask})))
    tb.mask_schedules.add("partly", schedule(lambda random, t, w, g, m, mask: (w, m, {})))
    every = {10: lambda leaf: leaf & False, 20: lambda leaf: leaf | True}
    more = tb.MaskUpdates(
        None, every, choose=lambda random, t, w, g, mask: (mask, {p: every[t](one) for p, one in mask.items()}), no_more=True
    )
    tb.mask_schedules.add("more", lambda timeline, kinds: more)
    with pytest.raises(TombolaError, match=words) as error:
        tb.train(digits(name, options))
    assert "\n" not in str(error.value)


def test_a_name_or_a_function_is_a_mask_schedule_without_options(mine):
    def halving(timeline, kinds):
        return tb.MaskUpdates(lambda random, t, w, g, m, mask: (w, m, {path: one & (w[path] > 0) for path, one in mask.items()}), [10])

    tb.mask_schedules.register(halving)
    recipe, named = digits(None).recipe, tb.MaskSchedule(name="halving")
    assert recipe.but(mask_schedule="halving") == recipe.but(mask_schedule=halving) == recipe.but(mask_schedule=named)
    assert recipe.but(mask_schedule={"name": "halving"}).digest == recipe.but(mask_schedule=named).digest
    assert recipe.but(supermask="signed").supermask == tb.Supermask(method="signed")
    with pytest.raises(TombolaError, match="unknown mask schedule 'halv': did you mean 'halving'"):
        tb.train(digits(None).but(recipe=recipe.but(mask_schedule="halv")))
    with pytest.raises(TombolaError, match="mask schedule 3: give a name, or a function or class that returns it; it is called with"):
        tb.MaskSchedule(name=3)


def test_where_nothing_that_is_prunable_trains_no_mask_can_move():
    with pytest.raises(TombolaError, match="no prunable weight trains"):
        tb.train(digits(supermask=tb.Supermask()))
    run = tb.train(digits(frozen=("hidden1",)))  # what is frozen is held at its start
    assert run.mask["hidden1/kernel"].all()
    assert trees.equal({"a": run.final["hidden1/kernel"]}, {"a": run.initial["hidden1/kernel"]})
    assert run.mask["hidden2/kernel"].sum() == round(0.2 * run.mask["hidden2/kernel"].size)


def test_a_description_without_a_schedule_has_the_digest_that_it_had():
    assert "mask_schedule" not in digits(None).recipe.canonical()
    assert len({digits(None).digest, digits().digest, digits(options={"final": 0.1, "end": "30it"}).digest}) == 3


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    settings = ["levels=1", "steps=40it", "evaluate_every=10it", "mask_schedule=halving", "mask_schedule.options.every=5it"]
    given = ["--scale", "smoke", "--task", "digits-mlp", "--replicates", "1", "--load", "mine.py"]
    command = [sys.executable, "-m", "tombola", "run", "frankle2019.sparsity", *given]
    done = subprocess.run(
        [*command, *(text for setting in settings for text in ("--set", setting))], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for folder in tmp_path.glob("runs/*/"):
        if (folder / "metrics.csv").exists():
            header, *lines = (folder / "metrics.csv").read_text().splitlines()
            assert header.endswith(",density")
            first, last = (float(line.rsplit(",", 1)[1]) for line in (lines[0], lines[-1]))
            assert last == pytest.approx(first / 8, rel=0.05)
            assert json.loads((folder / "summary.json").read_text())["density"] == last
            assert (folder / "masks" / "40it.safetensors").exists()
    wrong = subprocess.run(
        [*command, "--set", 'mask_schedule={"name": "gradual", "options": {"final": 2, "end": "30it"}}'],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert "density cannot go from 1.0 to 2" in wrong.stderr
