"""How data are divided: shares of classes, a validation set of one's own."""

import numpy as np
import pytest

import tombola as tb
from tombola.core.keys import generator
from tombola.core.task import Data
from tombola.data.dataset import load, sizes
from tombola.data.order import in_shares
from tombola.data.split import split

COUNTS = (160, 60, 20)
RANDOM = np.random.default_rng(0)
Y = RANDOM.permutation(np.repeat(np.arange(3), COUNTS))
X = RANDOM.normal(size=(240, 5)).astype(np.float32)
TEST = slice(180, 240)


def of_arrays(**options):
    return tb.from_arrays(X[:180], Y[:180], X[TEST], Y[TEST], validation=40, **options)


def off(order):
    """By how many examples, at the most, a beginning or an end of an order has another share of a class than all have."""
    parts = [part for size in range(1, len(order)) for part in (order[:size], order[-size:])]
    return max(np.abs(np.bincount(Y[part], minlength=3) - len(part) * np.array(COUNTS) / len(Y)).max() for part in parts)


def test_each_beginning_and_end_of_an_order_has_the_shares_of_all():
    order = in_shares(generator(3, "split").permutation(len(Y)), Y, generator(4, "split"))
    assert sorted(order) == list(range(len(Y)))
    assert off(order) <= 2
    assert np.abs(np.bincount(Y[order[: len(Y) // 4]]) - np.array(COUNTS) / 4).max() <= 1
    assert off(generator(3, "split").permutation(len(Y))) > 4


def test_splits_are_stratified_if_the_data_say_so():
    data = of_arrays(stratified=True)
    assert data.stratified
    assert data.name == of_arrays().name
    whole = load(data)
    for seed in range(20):
        own = split(whole, data, seed)
        assert np.abs(np.bincount(whole.targets[own.validation], minlength=3) - 40 * np.bincount(whole.targets) / 180).max() <= 2
        assert not set(own.train) & set(own.validation)
        assert set(split(whole, data.but(train=50), seed).train) <= set(own.train)
    spread = [np.bincount(whole.targets[split(whole, of_arrays(), seed).validation], minlength=3)[2] for seed in range(20)]
    assert max(spread) - min(spread) > 2


def test_fresh_test_sets_are_stratified_too():
    data = of_arrays(stratified=True).but(fresh_test=True)
    whole = load(data)
    for seed in range(5):
        own = split(whole, data, seed)
        assert len(own.test) == 60
        for part, size in ((own.test, 60), (own.validation, 40), (own.train, 140)):
            assert np.abs(np.bincount(whole.targets[part], minlength=3) - size * np.array(COUNTS) / 240).max() <= 2
        assert len({*own.test, *own.validation, *own.train}) == 240


def test_only_classes_are_stratified():
    with pytest.raises(tb.TombolaError, match=r"stratified keeps shares of classes, but the targets of diabetes"):
        load(Data(name="diabetes", stratified=True))
    with pytest.raises(tb.TombolaError, match=r"stratified keeps shares of classes, but y holds none"):
        tb.from_arrays(X[:180], X[:180, :1], X[TEST], X[TEST, :1], stratified=True)


def test_a_validation_set_of_ones_own_is_everybodys():
    data = tb.from_arrays(X[:140], Y[:140], X[TEST], Y[TEST], validation=(X[140:180], Y[140:180]))
    whole = load(data)
    assert data.name != of_arrays().name
    assert sizes(whole, data) == (140, 40)
    for seed in (1, 2):
        own = split(whole, data, seed)
        assert np.array_equal(whole.inputs[own.validation], X[140:180])
        assert np.array_equal(own.targets[own.validation], Y[140:180])
        assert sorted(own.train) == list(range(140))
    fewer = data.but(validation=10)
    assert sizes(whole, fewer) == (140, 10)
    assert np.array_equal(whole.inputs[split(whole, fewer, 1).validation], X[140:150])
    with pytest.raises(tb.TombolaError, match="brings its own validation set; set it to false"):
        load(data.but(fresh_test=True))
    with pytest.raises(tb.TombolaError, match="brings 40 validation examples, but validation is 41"):
        sizes(whole, data.but(validation=41))
    with pytest.raises(tb.TombolaError, match="has a pool"):
        sizes(whole, data.but(train=141))


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ((X[140:180, :4], Y[140:180]), "give examples of the same kind"),
        ((X[:0], Y[:0]), "give examples of the same kind"),
        ((X[140:180], None), r"give \(x, y\)"),
        ((X[140:180], Y[140:170]), "40 inputs, but targets of shape"),
    ],
)
def test_a_validation_set_that_does_not_fit(own, words):
    with pytest.raises(tb.TombolaError, match=words):
        tb.from_arrays(X[:140], Y[:140], X[TEST], Y[TEST], validation=own)


def test_a_file_may_bring_a_validation_set(tmp_path):
    arrays = {"x": X[:140], "y": Y[:140], "x_validation": X[140:180], "y_validation": Y[140:180], "test_x": X[TEST], "test_y": Y[TEST]}
    np.savez(tmp_path / "own.npz", **arrays)
    assert load(tb.from_file(tmp_path / "own.npz")).held == 40
    with pytest.raises(tb.TombolaError, match="has a validation set of its own"):
        tb.from_file(tmp_path / "own.npz", validation=10)
    np.savez(tmp_path / "half.npz", **{name: of for name, of in arrays.items() if name != "y_validation"})
    with pytest.raises(tb.TombolaError, match="of the validation set give both, validation_x and validation_y, or neither"):
        tb.from_file(tmp_path / "half.npz")


def test_the_test_set_that_is_drawn_of_a_file_may_be_stratified(tmp_path):
    np.savez(tmp_path / "own.npz", x=X, y=Y)
    whole = load(tb.from_file(tmp_path / "own.npz", stratified=True, test=0.25))
    assert np.abs(np.bincount(whole.test_targets) - np.array(COUNTS) / 4).max() <= 1
