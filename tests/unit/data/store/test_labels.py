import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.data.store.labels import (
    exit_prices,
    forward_returns,
    last_known,
    next_tradable,
)

PRICES = arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.integers(1, 3)),
    elements=st.floats(1, 1e5) | st.just(np.nan),
)


def labels(close, tradable, horizon, delay):
    entry = np.where(tradable, close, np.nan)
    return forward_returns(entry, exit_prices(close, tradable), horizon, delay)


@settings(max_examples=80, deadline=None)
@given(PRICES, st.integers(1, 6), st.integers(0, 3), st.integers(0, 99))
def test_forward_returns_follow_the_definition(close, horizon, delay, seed):
    tradable = np.isfinite(close) & (np.random.default_rng(seed).random(close.shape) > 0.2)
    found = labels(close, tradable, horizon, delay)
    days = len(close)
    for d in range(days):
        for n in range(close.shape[1]):
            expected, entry, due = np.nan, d + delay, d + delay + horizon
            if due < days and tradable[entry, n]:
                possible = [e for e in range(due, days) if tradable[e, n]]
                known = [e for e in range(days) if np.isfinite(close[e, n])]
                exit_day = possible[0] if possible else known[-1]
                expected = close[exit_day, n] / close[entry, n] - 1
            np.testing.assert_equal(found[d, n], expected)


def test_a_jump_over_a_halt_is_in_the_label_of_who_was_caught_in_it():
    close = np.array([[10.0], [10.0], [10.0], [np.nan], [5.0], [5.0], [5.0]])
    found = labels(close, np.isfinite(close), horizon=1, delay=1)[:, 0]
    np.testing.assert_array_equal(found, [0.0, -0.5, np.nan, 0.0, 0.0, np.nan, np.nan])


def test_a_stock_that_trades_no_more_is_marked_to_its_last_close():
    close = np.array([[10.0], [8.0], [6.0], [np.nan], [np.nan], [np.nan]])
    found = labels(close, np.isfinite(close), horizon=2, delay=0)[:, 0]
    np.testing.assert_allclose(found, [-0.4, -0.25, 0.0, np.nan, np.nan, np.nan])


def test_a_day_at_the_limit_has_a_price_but_no_entry_and_no_exit():
    close = np.array([[10.0], [13.0], [16.9], [17.0], [17.0]])
    tradable = np.array([[True], [False], [True], [True], [True]])
    found = labels(close, tradable, horizon=1, delay=0)[:, 0]
    np.testing.assert_allclose(found, [0.69, np.nan, 17.0 / 16.9 - 1, 0.0, np.nan])


def test_last_known_and_next_tradable_by_hand():
    close = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, 3.0]])
    np.testing.assert_array_equal(last_known(close), [[np.nan, 1], [2, 1], [2, 3]])
    np.testing.assert_array_equal(next_tradable(np.isfinite(close)), [[1, 0], [1, 2], [3, 2]])
