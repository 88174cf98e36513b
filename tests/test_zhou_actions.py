"""What kept and pruned weights start from: exact properties of every value action (Zhou et al. 2019, sections 3 and 4)."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toys import tiny

import tombola as tb
from tombola.core import trees
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.task import Model, Supermask
from tombola.core.trees import equal, replica, replicas, stack
from tombola.data.dataset import load
from tombola.engine.execute import Engine
from tombola.engine.graph import graph
from tombola.engine.progress import Progress
from tombola.engine.reading import load_tree as stored
from tombola.engine.starts import materialise
from tombola.models.build import build
from tombola.models.masked import masked
from tombola.models.nnx_network import NNXNetwork
from tombola.models.supermask import SCORE
from tombola.models.tasks import task as named_task
from tombola.procedures.actions import Context, value_actions
from tombola.procedures.imp import imp_runs
from tombola.procedures.run import Action
from tombola.store.store import Store
from tombola.surgery.combine import combine
from tombola.training.cohort import setup

of = DataInfo.of_classes

NETWORK = build(Model(name="mlp", options={"widths": [40, 40, 40]}), of((64,), 10))
PATHS = NETWORK.prunable
OTHERS = [path for path in NETWORK.shapes if path not in PATHS]
SEED = 7


def arrays(seed):
    """Weights of which none, biases included, is as a network makes it; every tenth is 0."""
    random = np.random.default_rng(seed)
    drawn = {path: random.normal(size=one.shape).astype(one.dtype) for path, one in NETWORK.shapes.items()}
    return {path: np.where(random.random(leaf.shape) < 0.1, leaf.dtype.type(0), leaf) for path, leaf in drawn.items()}


WEIGHTS, FINAL = arrays(0), arrays(1)
MASK = {path: np.random.default_rng(2).random(NETWORK.shapes[path].shape) < 0.4 for path in PATHS}
INITIAL = NETWORK.init(SEED)


def act(name, *parents, mask=MASK, network=NETWORK, seed=SEED, **options):
    return value_actions[name](Context(network, seed, mask), *parents, **options)


def sign(leaf):
    return np.where(leaf < 0, -1, 1)


def values_of(leaf):
    return np.sort(leaf, axis=None)


DRAWN = ["reinit", "permute", "reshuffle"]
TABLE = [
    *((name, {"stream": "s", "keep_sign": keep}) for name in DRAWN for keep in (False, True)),
    ("signed_constant", {}),
    ("signed_constant", {"stream": "s", "keep_sign": False}),
    ("random_signs", {"stream": "s"}),
    *(("zero_moved", {"moved": moved, "stream": "s"}) for moved in ("towards", "away", "random")),
]
IDS = [" ".join([name, *map(str, options.values())]) for name, options in TABLE]


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_prunable_leaves_change_and_all_else_is_as_in_the_parent(name, options):
    before = {path: leaf.copy() for path, leaf in WEIGHTS.items()}
    extra = [FINAL] if name == "zero_moved" else []
    found = act(name, WEIGHTS, *extra, **options)
    assert trees.equal(WEIGHTS, before)
    assert list(found) == list(WEIGHTS)
    assert trees.equal(trees.select(found, OTHERS), trees.select(WEIGHTS, OTHERS))
    for path in PATHS:
        assert (found[path].shape, found[path].dtype) == (WEIGHTS[path].shape, WEIGHTS[path].dtype)
        assert (found[path] != WEIGHTS[path]).mean() > 0.2
    if name != "zero_moved" and (name, options.get("keep_sign")) != ("reinit", False):
        assert trees.equal(act(name, **options), act(name, INITIAL, **options))  # no parent: the initial weights


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_values_are_a_function_of_seed_stream_and_leaf(name, options):
    extra = [FINAL] if name == "zero_moved" else []
    once, again = (act(name, WEIGHTS, *extra, **options) for _ in range(2))
    assert trees.equal(once, again)
    other = (act(name, WEIGHTS, *extra, **{**options, "stream": "t"}), act(name, WEIGHTS, *extra, seed=8, **options))
    random = options.get("moved") == "random" or name == "random_signs" or (options.get("stream") and "moved" not in options)
    for changed in other:
        assert all((changed[path] != once[path]).any() == bool(random) for path in PATHS)
    if random:  # two layers of one shape and the same values
        same = {**WEIGHTS, "hidden3/kernel": WEIGHTS["hidden2/kernel"]}
        mask = {**MASK, "hidden3/kernel": MASK["hidden2/kernel"]}
        ends = [{**FINAL, "hidden3/kernel": FINAL["hidden2/kernel"]}] if extra else []
        found = act(name, same, *ends, mask=mask, **options)
        assert (found["hidden2/kernel"] != found["hidden3/kernel"]).any()


@pytest.mark.parametrize("name", DRAWN)
def test_with_keep_sign_the_magnitudes_are_those_of_the_same_draw_and_each_place_keeps_its_sign(name):
    plain, signed = (act(name, WEIGHTS, stream="s", keep_sign=keep) for keep in (False, True))
    for path in PATHS:
        at = MASK[path] if name == "reshuffle" else np.ones_like(MASK[path])
        assert (abs(signed[path]) == abs(plain[path]))[at].all()
        assert (np.signbit(signed[path]) == (WEIGHTS[path] < 0))[at].all()  # 0 counts as positive
        assert abs(np.mean((sign(plain[path]) == sign(WEIGHTS[path]))[at & (WEIGHTS[path] != 0)]) - 0.5) < 2.5 / np.sqrt(at.sum())


class RandomBias(nnx.Module):
    """A layer whose bias is random too."""

    def __init__(self, key):
        self.output = nnx.Linear(8, 10, bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(key))

    def __call__(self, inputs):
        return self.output(inputs)


def test_reinit_as_it_was_is_a_whole_fresh_draw_and_under_a_parent_or_signs_its_kernels():
    network = NNXNetwork(RandomBias, of((8,), 10))
    initial, fresh = network.init(SEED), network.init(SEED, "reinit/1/0")
    assert (fresh["output/bias"] != initial["output/bias"]).all()
    assert trees.equal(act("reinit", network=network, stream="reinit/1/0"), fresh)
    for found in (act("reinit", *of, network=network, stream="reinit/1/0", keep_sign=not of) for of in ([initial], [])):
        assert (found["output/bias"] == initial["output/bias"]).all()
        assert (abs(found["output/kernel"]) == abs(fresh["output/kernel"])).all()


@pytest.mark.parametrize("keep_sign", [False, True])
def test_permute_keeps_the_values_of_a_whole_layer(keep_sign):
    found = act("permute", WEIGHTS, mask=None, stream="s", keep_sign=keep_sign)
    for path in PATHS:
        mine, its = (abs(leaf) if keep_sign else leaf for leaf in (found[path], WEIGHTS[path]))
        assert (values_of(mine) == values_of(its)).all()
        assert (mine != its).mean() > 0.9
        assert values_of(mine[MASK[path]]).tolist() != values_of(its[MASK[path]]).tolist()  # they cross the mask


@pytest.mark.parametrize("keep_sign", [False, True])
def test_reshuffle_keeps_the_values_of_the_kept_weights_and_leaves_the_pruned(keep_sign):
    found = act("reshuffle", WEIGHTS, stream="s", keep_sign=keep_sign)
    for path, kept in MASK.items():
        mine, its = (abs(tree[path][kept]) if keep_sign else tree[path][kept] for tree in (found, WEIGHTS))
        assert (values_of(mine) == values_of(its)).all()
        assert (mine != its).mean() > 0.9
        assert (found[path][~kept] == WEIGHTS[path][~kept]).all()


def test_every_place_is_as_likely_to_get_a_value():
    weights = {**WEIGHTS, "output/kernel": np.arange(400, dtype=np.float32).reshape(40, 10) + 1}
    mask = {**MASK, "output/kernel": np.arange(400).reshape(40, 10) % 40 == 0}
    for name, count in (("reshuffle", 10), ("permute", 400)):
        found = [act(name, weights, mask=mask, stream=f"s/{draw}")["output/kernel"].reshape(-1) for draw in range(400)]
        first = np.array([np.flatnonzero(leaf == 1)[0] for leaf in found])
        assert len(set(first)) == 10 or count == 400
        assert abs(first.mean() - (180 if count == 10 else 199.5)) < 4.5 * 116 / 20


def test_constants_are_the_deviation_of_the_initialiser_under_the_weights_own_signs():
    found = act("signed_constant", WEIGHTS, mask=None)
    for path in PATHS:
        assert (found[path] == np.where(WEIGHTS[path] < 0, -1, 1) * np.float32(NETWORK.std(path))).all()
    named = build(Model(name="mlp", options={"widths": [40, 40, 40]}, initializer="signed_constant"), of((64,), 10)).init(SEED)
    found = act("signed_constant", named, mask=None)
    assert all((sign(found[path]) == sign(named[path])).all() for path in PATHS)
    glorot = build(Model(name="mlp", options={"widths": [40, 40, 40]}, initializer="glorot_normal"), of((64,), 10))
    assert trees.equal(act("signed_constant", network=glorot), named)  # the same thing as that initialiser


@pytest.mark.parametrize(("name", "options"), [("signed_constant", {"keep_sign": False}), ("random_signs", {})])
def test_random_signs_are_fair_and_have_nothing_to_do_with_those_of_the_weights(name, options):
    found = act(name, WEIGHTS, stream="s", **options)
    for path in PATHS:
        size = WEIGHTS[path].size
        magnitude = abs(WEIGHTS[path]) if name == "random_signs" else np.float32(NETWORK.std(path))
        assert (abs(found[path]) == magnitude).all()
        nonzero = found[path][WEIGHTS[path] != 0]
        assert abs((nonzero > 0).mean() - 0.5) < 2.5 / np.sqrt(size)
        assert abs(((nonzero > 0) == (WEIGHTS[path][WEIGHTS[path] != 0] > 0)).mean() - 0.5) < 2.5 / np.sqrt(size)


def test_the_values_of_a_masked_network_leave_its_scores():
    learnt = masked(NETWORK, Supermask(method="edge_popup", density=0.5))
    first = learnt.init(SEED)
    for name, options in TABLE[:-3]:
        found = act(name, first, network=learnt, **options)
        assert all((found[path] == first[path]).all() for path in found if path.endswith(SCORE))
        assert all((found[path] != first[path]).any() for path in PATHS)


def test_values_take_arrays_of_jax():
    weights, final = ({path: jnp.asarray(leaf) for path, leaf in tree.items()} for tree in (WEIGHTS, FINAL))
    for name, options in TABLE:
        extra = [(final, FINAL)] if name == "zero_moved" else []
        found = act(name, weights, *(one for one, _ in extra), **options)
        wanted = act(name, WEIGHTS, *(other for _, other in extra), **options)
        assert all((np.asarray(found[path]) == wanted[path]).all() for path in NETWORK.shapes)


# -- zeroed ----------------------------------------------------------------------------------------------------------------


def test_zeroed_are_those_that_moved_towards_zero_or_for_the_control_the_others():
    towards, away = (act("zero_moved", WEIGHTS, FINAL, mask=None, **options) for options in ({}, {"moved": "away"}))
    for path in PATHS:
        for w, f, one, other in zip(*(tree[path].reshape(-1) for tree in (WEIGHTS, FINAL, towards, away)), strict=True):
            assert (one, other) == ((0, w) if abs(f) < abs(w) else (w, 0))


def test_at_random_as_many_are_zeroed_among_the_kept_and_among_the_pruned():
    solid = {path: np.where(leaf == 0, np.float32(0.5), leaf) for path, leaf in WEIGHTS.items()}
    towards = act("zero_moved", solid, FINAL)
    found, other = (act("zero_moved", solid, FINAL, moved="random", stream=stream) for stream in "st")
    for path, kept in MASK.items():
        for group in (kept, ~kept):
            count = (towards[path][group] == 0).sum()
            assert 0 < count == (found[path][group] == 0).sum() == (other[path][group] == 0).sum()
        assert (found[path] == 0).tolist() not in ((towards[path] == 0).tolist(), (other[path] == 0).tolist())
        assert (found[path][found[path] != 0] == solid[path][found[path] != 0]).all()
        moved, hit = towards[path] == 0, found[path] == 0  # as often there as elsewhere
        assert abs(hit[moved].mean() - hit[~moved].mean()) < 4.5 * np.sqrt(0.25 / moved.sum() + 0.25 / (~moved).sum())


def test_in_a_chain_of_its_own_what_was_held_stays_held():
    mask, start = {path: np.ones_like(leaf) for path, leaf in MASK.items()}, WEIGHTS
    for level in range(4):
        random = np.random.default_rng(level)
        final = {path: np.where(mask[path], random.normal(size=leaf.shape), start[path]) for path, leaf in mask.items()}
        after = {path: leaf & (random.random(leaf.shape) < 0.6) for path, leaf in mask.items()}
        now = combine(after, WEIGHTS, act("zero_moved", WEIGHTS, {**start, **final}, mask=after))
        for path in PATHS:
            held, new = ~mask[path], mask[path] & ~after[path]
            assert (now[path][held] == start[path][held]).all()
            assert 0 < (now[path][new] == 0).mean() < 1
        mask, start = after, now


# -- errors ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parents", "options", "words"),
    [
        ("reshuffle", 1, {"stream": "s", "mask": None}, "needs a mask"),
        ("signed_constant", 1, {"keep_sign": False}, "name a stream"),
        ("zero_moved", 2, {"moved": "random"}, "a stream to draw from"),
        ("zero_moved", 2, {"moved": "random", "stream": "s", "mask": None}, "needs a mask"),
        ("zero_moved", 2, {"moved": "toward"}, "did you mean 'towards'"),
    ],
)
def test_what_is_missing_is_said_in_one_line(name, parents, options, words):
    with pytest.raises(TombolaError, match=words) as caught:
        act(name, *(WEIGHTS, FINAL)[:parents], **options)
    assert "\n" not in str(caught.value)


# -- runs ------------------------------------------------------------------------------------------------------------------

TASK = tiny()


@pytest.mark.slow
def test_every_action_makes_a_run_whose_pruned_weights_stay_where_it_put_them(tmp_path):
    dense, ticket = imp_runs(TASK, SEED, 1, rates={"dense": 0.5, "output": 0.3}, rewind="5it")
    same = Action(name="same", of=(ticket.its_mask(),))
    weights, final = dense.at("5it"), dense.at("end")
    starts = [Action(name=name, of=(weights, final)[: 2 if name == "zero_moved" else 1], options=options) for name, options in TABLE]
    runs = [ticket.but(mask=same, kept=start) for start in starts]
    runs += [ticket.but(mask=same, kept=start, pruned=start) for start in starts[-3:]]  # V2 and its controls
    runs += [ticket.but(mask=same, pruned=start) for start in starts]
    store = Store(tmp_path)
    keep = {run.digest: ["5it", "end"] for run in [dense, *runs]}
    Engine(graph([dense, *runs], keep), store, progress=Progress(quiet=True)).execute()
    first, last = (stored(dense, step, store, None) for step in ("5it", "end"))
    whole = stored(ticket, "mask", store, None)
    network = build(TASK.model, of((64,), 10))

    def made(action):
        parents = [first, last][: len(action.of)] if action.name == "zero_moved" else [first]
        return act(action.name, *parents, mask=whole, network=network, **action.options)

    for run in runs:
        mask, start = materialise(run, store, None)
        kept = made(run.kept) if run.kept != ticket.kept else first
        wanted = combine(whole, kept, 0.0 if run.pruned is None else made(run.pruned))
        assert trees.equal(mask, whole)
        assert trees.equal(start, wanted)
        assert trees.equal(stored(run, "5it", store, None), wanted)
        end = stored(run, "end", store, None)
        for path, leaf in whole.items():
            assert (end[path][~leaf] == wanted[path][~leaf]).all()
            assert (end[path][leaf] != wanted[path][leaf]).any()


# -- in Python -----------------------------------------------------------------------------------------------------------


def test_values_are_those_of_the_studies_a_replicate_each():
    task = named_task("digits-mlp", "smoke")
    network = setup(task, load(task.data)).network
    first = stack([network.init(replicate_seed(3, index)) for index in range(2)])
    mask = {path: first[path] > 0 for path in network.prunable}
    found = tb.values("reshuffle", task, mask=mask, seed=3, stream="a")
    for index in range(2):
        context = Context(network, replicate_seed(3, index), replica(mask, index))
        assert equal(replica(found, index), value_actions["reshuffle"](context, stream="a"))
    assert equal(tb.values("reshuffle", task, first, mask=mask, seed=3, stream="a"), found)
    assert not equal(tb.values("reshuffle", task, first, mask=mask, seed=4, stream="a"), found)
    moved = {path: leaf / 2 for path, leaf in first.items()}
    assert all((leaf == 0).all() for path, leaf in tb.values("zeroed", task, first, moved).items() if path in mask)
    assert equal(tb.values("initial", task, replicates=2, seed=3), first)
    assert replicas(tb.values("initial", task)) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda task, first, mask: tb.values("nope", task), "unknown value action"),
        (lambda task, first, mask: tb.values("reshuffle", task, stream="a"), "mask"),
        (lambda task, first, mask: tb.values("permute", task), "stream"),
        (lambda task, first, mask: tb.values("constant", task, first, sign=True), "sign"),
        (lambda task, first, mask: tb.values("constant", task, first, replicates=3), "2 and 3"),
        (lambda task, first, mask: tb.values("constant", task, {path: leaf[:, :1] for path, leaf in first.items()}), "shape"),
        (
            lambda task, first, mask: tb.values("reshuffle", task, mask={path: leaf[..., :1] for path, leaf in mask.items()}, stream="a"),
            "shape",
        ),
    ],
)
def test_wrong_values_are_one_line(given, said):
    task = named_task("digits-mlp", "smoke")
    first = tb.values("initial", task, replicates=2)
    mask = {path: leaf > 0 for path, leaf in first.items() if path.endswith("kernel")}
    with pytest.raises(TombolaError, match=said) as error:
        given(task, first, mask)
    assert "\n" not in str(error.value)
