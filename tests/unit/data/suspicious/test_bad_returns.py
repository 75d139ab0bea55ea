import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.data.suspicious.bad_returns import extreme_returns, reversals, untraded_changes

NOTHING = np.empty(0, np.int64)


@pytest.mark.parametrize(
    ("prices", "found"),
    [
        ([100, 50, 100, 100], [1]),
        ([100, 100, 300, 101], [2]),
        ([100, 136, 106, 106], [1]),  # ln 1.06 is less than a fifth of ln 1.36
        ([100, 136, 107, 107], []),
        ([100, 134, 100, 100], []),
        ([100, 66, 100, 100], []),
        ([100, 64, 100, 100], [1]),
        ([100, 50, 50, 100], []),
        ([100, 100, 100, 50], []),
        ([100, 50, 25, 50], [2]),
    ],
)
def test_a_reversal_is_a_large_return_undone_on_the_next_row(closes, prices, found):
    assert reversals(closes(prices)).tolist() == found


def test_the_next_stock_undoes_nothing(closes):
    assert reversals(closes([100, 100, 50], [100, 100, 100])).tolist() == []
    assert reversals(closes([100, 100, 100], [50, 100, 50])).tolist() == [4]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(5, 100),
    st.integers(0, 29),
    st.floats(0.05, 0.55) | st.floats(1.6, 50),
)
def test_one_bad_print_is_found_and_nothing_else(walks, seed, day, stock, factor):
    market = walks(seed=seed, scale=0.01)
    market.close_DN[day, stock] *= factor
    rows = market.rows()
    assert reversals(rows).tolist() == [rows.starts[stock] + day]


def test_extreme_returns_are_those_that_nothing_explains(closes):
    rows = closes([100, 19, 19, 96, 96, 24, 100])
    assert extreme_returns(rows, NOTHING).tolist() == [1, 3]
    assert extreme_returns(rows, np.array([3])).tolist() == [1]


def test_a_changed_close_without_a_trade(closes):
    rows = closes([100, 101, 101, 102, 103], volume=[[0, 0, 0, 5, np.nan]])
    assert untraded_changes(rows).tolist() == [1]
