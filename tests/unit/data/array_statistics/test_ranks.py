import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm, percentileofscore, rankdata

from atft_hpo.data.array_statistics.ranks import (
    average_ranks,
    normal_scores,
    scores_among,
    shares_below,
    sorted_with_places,
    uniform_ranks,
)

# Few distinct values, so that ties are common; NaN among them.
VALUES = st.sampled_from([np.nan, -np.nan, -2.0, -0.0, 0.0, 0.5, 1.0, 1e9])
ROWS = arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 12)), elements=VALUES)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_average_ranks_equal_scipys(values):
    expected = rankdata(values, axis=-1, nan_policy="omit")
    np.testing.assert_array_equal(average_ranks(values), expected)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 2**32 - 1))
def test_shares_below_equal_scipys_percentiles(values, seed):
    member = np.random.default_rng(seed).random(values.shape) < 0.6
    found = shares_below(values, member)
    for row, inside, shares in zip(values, member & ~np.isnan(values), found, strict=True):
        for value, share in zip(row, shares, strict=True):
            if np.isnan(value) or not inside.any():
                assert np.isnan(share)
            else:
                expected = percentileofscore(row[inside], value, kind="mean") / 100
                assert share == pytest.approx(expected, abs=1e-6)


# Apart by less than what the place of a value in its row takes of float64's bits.
CLOSE = st.sampled_from(
    [np.nan, -np.nan, -np.inf, np.inf, -0.0, 0.0, 5e-324, -5e-324]
    + [sign * (1.0 + k * 2.0**-52) for sign in (-1.0, 1.0) for k in range(8)]
)


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 12)), elements=CLOSE))
def test_doubles_that_hardly_differ_are_told_apart(values):
    expected = rankdata(values, axis=-1, nan_policy="omit")
    np.testing.assert_array_equal(average_ranks(values), expected)
    places, ascending = sorted_with_places(values)
    np.testing.assert_array_equal(ascending, np.sort(values, axis=-1))
    np.testing.assert_array_equal(np.sort(places, axis=-1), np.arange(values.shape[1]) + 0 * places)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_long_rows_with_and_without_ties_rank_as_scipys(dtype):
    values = np.random.default_rng(0).standard_normal((4, 2, 3000)).astype(dtype)
    values[1, 0] = np.round(values[1, 0], 1)
    values[2, :, ::7] = np.nan
    expected = rankdata(values, axis=-1, nan_policy="omit")
    np.testing.assert_array_equal(average_ranks(values), expected)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(0, 2**32 - 1))
def test_ranks_do_not_depend_on_order_or_monotone_maps(values, seed):
    order = np.random.default_rng(seed).permutation(values.shape[-1])
    mapped = np.cbrt(values.astype(np.float64)) * 3 - 7
    np.testing.assert_array_equal(average_ranks(mapped[:, order]), average_ranks(values)[:, order])


def test_uniform_ranks_have_mean_zero_and_unit_variance():
    ranks = uniform_ranks(np.random.default_rng(0).normal(size=(5, 31)))
    np.testing.assert_allclose(ranks.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(ranks.var(axis=-1), 1, rtol=1e-5)
    assert ranks.max() < np.sqrt(3)


def test_uniform_ranks_of_a_lone_value_are_missing():
    ranks = uniform_ranks(np.array([[1.0, np.nan, np.nan], [1.0, 2.0, np.nan]]))
    assert np.isnan(ranks[0]).all()
    np.testing.assert_allclose(ranks[1, :2], [-1.0, 1.0])


def test_normal_scores_are_symmetric_and_zero_without_information():
    scores = normal_scores(np.array([[3.0, 1.0, 2.0], [5.0, 5.0, 5.0], [7.0, np.nan, np.nan]]))
    assert scores[0, 1] == pytest.approx(-scores[0, 0])
    assert scores[0, 2] == 0
    np.testing.assert_array_equal(scores[1], 0)
    assert scores[2, 0] == 0


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 2**32 - 1))
def test_scores_among_members_are_those_of_the_share_below(values, seed):
    member = np.random.default_rng(seed).random(values.shape) < 0.6
    scores = scores_among(values, member)
    for r, row in enumerate(values):
        members = row[member[r] & ~np.isnan(row)]
        count = len(members)
        assert scores.count_R[r] == count
        ends = [scores.low_R[r], scores.high_R[r]]
        assert ends == [members.min(), members.max()] if count else np.isnan(ends).all()
        for x, score in zip(row, scores.score_RN[r], strict=True):
            if np.isnan(x) or not count:
                assert np.isnan(score)
                continue
            share = ((members < x).mean() + (members <= x).mean()) / 2
            expected = norm.ppf(np.clip(share, 0.5 / count, 1 - 0.5 / count))
            assert score == pytest.approx(expected, abs=1e-5)
