"""Masks as few bytes, and networks without what follows from their seed: everything comes back bit for bit."""

import contextlib
import math

import numpy as np
import pytest
from toy_networks import Normed

import tombola as tb
from tombola.core import trees
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.task import Model, Supermask
from tombola.models.build import build
from tombola.models.supermask import SCORE, chosen, effective
from tombola.procedures.actions import Context, value_actions
from tombola.procedures.compressed import Origin, compress, decompress, plain, sizes
from tombola.procedures.run import Action, Run
from tombola.surgery.bitmask import decode_mask, encode_mask, entropy

pytestmark = pytest.mark.usefixtures("optimized")

NET = build(Model(name="mlp", options={"widths": (12, 7)}), DataInfo.of_classes((5, 5, 1), 4))
CONSTANT = Action(name="constant", options={"keep_sign": True})
REINIT = Action(name="reinit", options={"stream": "reinit/1/0"})
BITS, LZMA, KEPT, PRUNED = range(4)
HEADER = 6


def random(shape, density, seed=0):
    return np.random.default_rng(seed).random(shape) < density


def mask_of(network=NET, density=0.3):
    return {path: random(network.shapes[path].shape, density, index) for index, path in enumerate(network.prunable)}


def values(action, network=NET, mask=None, seed=3):
    return dict(value_actions[action.name](Context(network, seed, mask), **action.options))


def under(mask, weights, held=None):
    """Weights with pruned ones at zero, or as `held` has them."""
    zero = np.float32(0)
    return {
        path: np.where(mask[path], leaf, zero if held is None else held[path]) if path in mask else leaf for path, leaf in weights.items()
    }


def there_and_back(weights, mask, origin=None, network=NET):
    compressed = compress(network, origin or Origin(3), weights, mask)
    again, mask_again = decompress(network, compressed)
    assert trees.equal(again, weights)
    assert trees.equal(mask_again, mask)
    assert {path: (leaf.shape, leaf.dtype) for path, leaf in again.items()} == {p: (leaf.shape, leaf.dtype) for p, leaf in weights.items()}
    return compressed


# -- masks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0, 0.001, 0.05, 0.2, 0.38, 0.5, 0.8, 0.999, 1])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (8,), (3, 0, 2), (40, 25), (3, 3, 16, 8)])
def test_masks_come_back(shape, density):
    mask = np.asarray(random(shape, density))
    for leaf in (mask, mask.T):  # not contiguous
        found = decode_mask(encode_mask(leaf), leaf.shape)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, leaf)


@pytest.mark.parametrize("density", [0.002, 0.01, 0.05, 0.2, 0.3, 0.38, 0.45, 0.5, 0.62, 0.8, 0.95, 0.99])
def test_a_random_mask_takes_little_more_than_its_entropy(density):
    mask = random((400, 500), density)
    compressed, best = encode_mask(mask).nbytes, entropy(mask) / 8
    assert 0.999 * best < compressed < 1.042 * best + HEADER
    assert compressed <= mask.size // 8 + 1


def test_each_coding_has_masks_that_it_is_best_for():
    units = np.zeros((300, 200), bool)
    units[:, random(200, 0.4)] = True
    codings = {BITS: random(20_000, 0.5), LZMA: units, KEPT: random(20_000, 0.05), PRUNED: random(20_000, 0.95)}
    for coding, mask in codings.items():
        assert encode_mask(mask)[0] == coding
    assert encode_mask(units).nbytes < entropy(units) / 8 / 20


def test_entropy_is_that_of_the_frequencies():
    assert entropy(np.array([True] * 3 + [False])) == pytest.approx(4 * (0.75 * math.log2(4 / 3) + 0.25 * 2))
    assert entropy(np.array([-1, 0, 1, 0])) == pytest.approx(4 * (0.5 * 1 + 2 * 0.25 * 2))
    assert entropy(np.ones(9, bool)) == entropy(np.zeros(0, bool)) == 0


@pytest.mark.parametrize("mask", [random(900, 0.5), np.arange(900) < 300, random(900, 0.05), random(900, 0.95)])
def test_damaged_masks_are_refused_or_another_mask_of_the_same_shape(mask):
    compressed = encode_mask(mask)
    wrong = [compressed[:0], compressed[: len(compressed) // 2], np.concatenate([[9], compressed[1:]])]
    for one in wrong:
        with pytest.raises(TombolaError, match=r"no packed mask of shape \(30, 30\)"):
            decode_mask(one, (30, 30))
    for place in range(len(compressed)):
        changed = compressed.copy()
        changed[place] ^= 0x55
        with contextlib.suppress(TombolaError):  # and nothing else
            assert decode_mask(changed, (30, 30)).shape == (30, 30)


# -- networks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "action"), [("initial", None), ("kept", REINIT), ("kept", CONSTANT)])
def test_what_follows_from_the_seed_is_left_out(name, action):
    mask = mask_of()
    weights = under(mask, values(action or Action(name="initial"), mask=mask))
    compressed = there_and_back(weights, mask, Origin(3, action))
    assert {compressed.leaves[path]["kept"] for path in NET.prunable} == {name}
    assert compressed.stored == 0
    assert set(compressed.arrays) == {f"{path}.mask" for path in NET.prunable}


def test_a_candidate_that_another_seed_draws_is_not_used():
    mask = mask_of()
    compressed = there_and_back(under(mask, values(Action(name="initial"), seed=4)), mask)
    assert {compressed.leaves[path]["kept"] for path in NET.prunable} == {"stored"}


def test_actions_with_parents_are_no_candidates():
    parent = Run(task=tb.task("digits-mlp"), seed=1)
    of = (parent.at("end"),)
    assert list(Origin(3, Action(name="rewind", of=of), Action(name="constant", of=of)).candidates()) == ["initial"]
    assert list(Origin(3, CONSTANT, REINIT).candidates()) == ["initial", "kept", "pruned"]


def test_trained_values_are_stored_only_where_they_are_kept():
    mask, start = mask_of(), NET.init(3)
    path, bias = NET.prunable[1], next(path for path in NET.shapes if path not in NET.prunable)
    trained = under(mask, {**start, path: start[path] + np.float32(0.1), bias: start[bias] + np.float32(1)})
    compressed = there_and_back(trained, mask)
    assert compressed.leaves[path] == {"kept": "stored", "pruned": "zero"}
    assert compressed.leaves[bias] == {"all": "stored"}
    assert compressed.stored == mask[path].sum() + trained[bias].size


def test_one_changed_bit_of_one_weight_is_kept():
    mask = mask_of()
    weights = under(mask, NET.init(3))
    path = NET.prunable[0]
    leaf = weights[path].copy()
    place = tuple(np.argwhere(mask[path])[5])
    leaf[place] = np.nextafter(leaf[place], np.float32(np.inf))
    assert there_and_back({**weights, path: leaf}, mask).stored == mask[path].sum()


@pytest.mark.parametrize(
    ("held", "source"), [("frozen", "initial"), ("drawn", "pruned"), ("other", "stored"), ("negative zero", "stored"), ("zero", "zero")]
)
def test_pruned_weights_come_back_whatever_they_are_held_at(held, source):
    mask, start = mask_of(), NET.init(3)
    at = {
        "frozen": start,
        "drawn": values(REINIT),
        "other": {path: leaf + np.float32(2) for path, leaf in start.items()},
        "negative zero": {path: np.full_like(leaf, -0.0) for path, leaf in start.items()},
        "zero": None,
    }[held]
    compressed = there_and_back(under(mask, start, at), mask, Origin(3, None, REINIT))
    assert {compressed.leaves[path]["pruned"] for path in NET.prunable} == {source}
    assert compressed.stored == (sum(int((~leaf).sum()) for leaf in mask.values()) if source == "stored" else 0)


@pytest.mark.parametrize("density", [0, 1])
def test_nothing_and_everything_kept(density):
    mask = mask_of(density=density)
    assert there_and_back(under(mask, NET.init(3)), mask).stored == 0


def test_values_that_are_no_numbers_come_back():
    mask, start = mask_of(), dict(NET.init(3))
    path = NET.prunable[0]
    start[path] = np.where(random(start[path].shape, 0.2, 5), np.float32(np.nan), start[path])
    start[path].reshape(-1)[:4] = [-np.nan, np.inf, -np.inf, -0.0]
    there_and_back(under(mask, start), mask)


def test_layers_with_batch_norm_store_their_statistics():
    network = build(tb.model(Normed), DataInfo.of_classes((5, 5, 1), 4))
    mask, start = mask_of(network), network.init(3)
    assert there_and_back(under(mask, start), mask, network=network).stored == 0
    path = network.running[0]
    compressed = there_and_back(under(mask, {**start, path: start[path] + np.float32(1)}), mask, network=network)
    assert compressed.stored == start[path].size == 8


@pytest.mark.parametrize("rescale", ["none", "dynamic", "root"])
@pytest.mark.parametrize("method", ["bernoulli", "edge_popup", "signed"])
def test_a_supermask_is_its_seed_its_bits_and_its_signs(method, rescale):
    spec = Supermask(method=method, density=0.3, rescale=rescale)
    scores = {path + SCORE: np.random.default_rng(7).normal(size=NET.shapes[path].shape).astype(np.float32) for path in NET.prunable}
    tree = {**values(CONSTANT), **scores}
    weights, mask, factors = plain(spec, tree, {path: np.ones(NET.shapes[path].shape, bool) for path in NET.prunable})
    assert trees.equal(weights, effective(spec, tree, chosen(spec, tree)))
    compressed = there_and_back(weights, mask, Origin(3, CONSTANT, None, factors))
    assert compressed.stored == 0
    size = sizes(NET, compressed, mask)
    assert (size.signs > 0) == (method == "signed")
    assert size.constants == 8 + (0 if rescale == "none" else 4 * len(NET.prunable))
    signed = {path: leaf if method == "signed" else np.abs(leaf) for path, leaf in chosen(spec, tree).items()}
    assert size.entropy == pytest.approx(sum(entropy(leaf) for leaf in signed.values()) / 8)


def test_a_run_that_pruned_before_it_learnt_a_mask_keeps_what_is_in_both():
    spec, before = Supermask(method="signed", density=0.5), mask_of(density=0.5)
    scores = {path + SCORE: np.random.default_rng(7).normal(size=NET.shapes[path].shape).astype(np.float32) for path in NET.prunable}
    tree = {**under(before, values(CONSTANT)), **scores}
    weights, mask, factors = plain(spec, tree, before)
    assert all(not (mask[path] & ~before[path]).any() for path in mask)
    compressed = there_and_back(weights, mask, Origin(3, CONSTANT, None, factors))
    assert {compressed.leaves[path]["kept"] for path in NET.prunable} == {"kept"}


def test_sizes_count_every_byte():
    mask = mask_of()
    compressed = compress(NET, Origin(3), under(mask, values(Action(name="initial"), seed=4)), mask)
    size = sizes(NET, compressed, mask)
    assert size.dense == 4 * sum(math.prod(one.shape) for one in NET.shapes.values())
    assert size.mask == sum(encode_mask(leaf).nbytes for leaf in mask.values())
    assert size.values == 4 * sum(int(leaf.sum()) for leaf in mask.values())
    assert size.total == sum(leaf.nbytes for leaf in compressed.arrays.values()) + 8
    assert size.prunable == sum(leaf.size for leaf in mask.values())
    assert size.mask_bits == pytest.approx(8 * size.mask / size.prunable)


def test_what_is_missing_is_named():
    compressed = compress(NET, Origin(3), under(mask_of(), values(Action(name="initial"), seed=4)), mask_of())
    for name in compressed.arrays:
        less = type(compressed)(compressed.origin, {one: leaf for one, leaf in compressed.arrays.items() if one != name}, compressed.leaves)
        with pytest.raises(TombolaError, match=name):
            decompress(NET, less)
    other = build(Model(name="mlp", options={"widths": (9, 7)}), DataInfo.of_classes((5, 5, 1), 4))
    with pytest.raises(TombolaError):
        decompress(other, compressed)
