"""Intervals and tests over replicates, against numbers computed by hand and against their own definitions."""

import math
import warnings
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tombola.evaluation import paired
from tombola.evaluation.statistics import holm, interval, rank_correlation, sign_flip

finite = st.floats(-1e6, 1e6, allow_nan=False, width=32)
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_interval_by_hand():
    # mean 2, standard deviation 1, t(0.975, 2) = 4.302653
    found = interval([1.0, 2.0, 3.0])
    half = 4.302652729696142 / math.sqrt(3)
    assert (found.mean, found.n) == (2.0, 3)
    assert found.low == pytest.approx(2 - half, abs=1e-9)
    assert found.high == pytest.approx(2 + half, abs=1e-9)


def test_interval_takes_its_confidence():
    # t(0.95, 1) = 6.313752: half = 6.313752 * sqrt(2) / sqrt(2)
    assert interval([0.0, 2.0], confidence=0.9).high == pytest.approx(1 + 6.313751514675044, abs=1e-8)


def test_interval_of_no_one_and_missing_values():
    empty = interval([math.nan])
    assert math.isnan(empty.mean)
    assert (empty.low, empty.high, empty.n) == (-math.inf, math.inf, 0)
    one = interval([5.0, math.nan])
    assert (one.mean, one.low, one.high, one.n) == (5.0, -math.inf, math.inf, 1)
    assert interval([1.0, math.nan, 3.0]) == interval([1.0, 3.0])


def test_interval_with_an_infinite_value_is_unbounded():
    found = interval([1.0, 2.0, math.inf])
    assert (found.mean, found.low, found.high, found.n) == (math.inf, -math.inf, math.inf, 3)
    assert math.isnan(interval([math.inf, -math.inf]).mean)


@pytest.mark.parametrize("n", [3, 8])
def test_interval_covers_the_mean_as_often_as_it_says(n):
    draws = np.random.Generator(np.random.Philox(key=n)).normal(3.0, 2.0, size=(2000, n))
    covered = np.mean([(found := interval(draw)).low <= 3.0 <= found.high for draw in draws])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0], 1.0),  # both signs are as large
        ([1.0, 2.0], 2 / 4),  # sums 3, -1, 1, -3 against 3
        ([1.0, 2.0, 3.0], 2 / 8),
        ([3.0, -1.0], 4 / 4),  # |2| is reached by 2, -2, 4, -4
        ([3.0, 2.0, -1.0], 4 / 8),  # |4| by +-6 and +-4
        ([0.0, 0.0, 0.0], 1.0),
        ([0.1, 0.2, -0.3], 1.0),  # sums to 0 on paper, to 5.6e-17 in floats
        ([1.0, 2.0, math.nan, 3.0], 2 / 8),
        ([], 1.0),
        ([1.0, math.inf], 1.0),
    ],
)
def test_sign_flip_by_hand(differences, p):
    assert sign_flip(differences) == p


@pytest.mark.parametrize("n", range(1, 15))
def test_sign_flip_reaches_its_lower_bound_and_no_less(n):
    assert sign_flip([0.3] * n) == 2 / 2**n


def test_sign_flip_of_many_pairs_is_sampled_near_the_exact_value():
    differences = np.random.Generator(np.random.Philox(key=1)).normal(0.3, 1.0, size=15)
    signs = np.array(list(product((1, -1), repeat=15)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    found = sign_flip(differences)
    assert abs(found - exact) < 4 * math.sqrt(exact * (1 - exact) / 2**14)
    assert found == sign_flip(differences)


def test_sign_flip_of_many_equal_pairs_is_never_0():
    assert 0 < sign_flip([1.0] * 30) <= 2 / 2**14


def test_sign_flip_rejects_as_often_as_it_says_where_there_is_no_effect():
    draws = np.random.Generator(np.random.Philox(key=2)).normal(size=(1500, 6))
    rejected = np.mean([sign_flip(draw) <= 2 / 2**5 for draw in draws])
    assert abs(rejected - 1 / 16) < 4 * math.sqrt(1 / 16 * 15 / 16 / 1500)


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=8))
def test_sign_flip_is_the_share_of_patterns_counted_in_whole_numbers(differences):
    patterns = [
        sum(sign * value for sign, value in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=len(differences))
    ]
    exact = np.mean([abs(pattern) >= abs(sum(differences)) for pattern in patterns])
    thousandths = [value / 1000 for value in differences]  # as accuracies are: ties on paper are none in floats
    assert sign_flip(thousandths) == exact
    assert sign_flip([-value for value in thousandths]) == exact
    assert sign_flip(thousandths[::-1]) == exact
    assert exact >= 2 / 2 ** len(differences)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02, 0.02, 0.02]) == pytest.approx([0.06, 0.06, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(probabilities)
def test_holm_properties(p_values):
    adjusted = holm(p_values)
    for p, found in zip(p_values, adjusted, strict=True):
        assert p <= found <= min(1.0, len(p_values) * p)  # never above Bonferroni
    order = np.argsort(p_values, kind="stable")
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order))
    assert holm(p_values[::-1]) == adjusted[::-1]


@given(st.lists(finite, min_size=2, max_size=8), st.sampled_from([0.5, 2.0, 16.0]))
def test_interval_properties(values, factor):
    found, scaled = interval(values), interval([factor * value for value in values])
    assert found.low <= found.mean <= found.high
    assert (scaled.mean, scaled.low, scaled.high) == pytest.approx((factor * found.mean, factor * found.low, factor * found.high))


# -- against SciPy, whose own module is not loaded -----------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_interval_is_scipys_bit_for_bit(values, confidence):
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    found = interval(values, confidence)
    assert (found.low, found.high) == (found.mean - half, found.mean + half)


@given(st.lists(st.tuples(st.integers(-4, 4), st.floats(-2, 2)), min_size=2, max_size=40))
def test_rank_correlation_is_scipys_bit_for_bit(pairs):
    a, b = np.array(pairs, float).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant column
        expected = stats.spearmanr(a, b).statistic
    np.testing.assert_array_equal(rank_correlation(a, b), expected)


@pytest.mark.parametrize("draws", [1, 3])
def test_by_replicate_is_pandas_own_table_of_means(draws):
    draw = np.random.default_rng(draws)
    rows = [(arm, replicate, level) for arm in "ab" for replicate in (5, 2, 9) for level in (4, 0, 1) for _ in range(draws)]
    table = pd.DataFrame(rows, columns=["arm", "replicate", "level"]).assign(metric=draw.normal(size=len(rows)))
    table.loc[table.level == 1, "metric"] = np.nan  # stays a column
    table.loc[0, "metric"] = np.inf
    table = table.drop(index=table.index[-2:])
    wanted = table[table.arm == "b"].pivot_table(index="replicate", columns="level", values="metric", aggfunc="mean", dropna=False)
    pd.testing.assert_frame_equal(paired.by_replicate(table, "metric", "b"), wanted)
    assert paired.by_replicate(table, "metric", "c").shape == (0, 0)
