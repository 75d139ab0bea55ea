import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.data.suspicious.stale_runs import stale_runs


def found(rows):
    """(first day, stock, rows) of each run."""
    runs = stale_runs(rows)
    stocks = rows.stock_of(runs.first_M)
    return list(zip(rows.day_R[runs.first_M].tolist(), stocks.tolist(), runs.rows_M, strict=True))


def ticked(walks, price, tick=1.0, **kind):
    """Walks near a price, in whole ticks."""
    market = walks(**kind)
    market.close_DN = np.maximum(np.round(market.close_DN * price / 100 / tick), 1) * tick
    return market


@pytest.mark.parametrize("last", [30, 33, 34, 39])
def test_five_equal_closes_are_a_run_four_are_none(walks, last):
    market = walks()
    market.close_DN[30 : last + 1, 2] = market.close_DN[30, 2]
    expected = [(30, 2, last - 29)] if last >= 34 else []
    assert found(market.rows()) == expected
    assert found(market.rows(closes_only=True)) == expected


def test_adjustment_in_single_precision_does_not_hide_a_run(walks):
    market = walks()
    noise = 1 + np.random.default_rng(0).uniform(-1e-7, 1e-7, 10)
    market.close_DN[30:40, 2] = market.close_DN[30, 2] * noise
    assert found(market.rows()) == [(30, 2, 10)]


def test_a_run_ends_with_its_stock(walks):
    market = walks(days=40)
    market.close_DN[37:, 2] = market.close_DN[:3, 3] = 100.0
    assert found(market.rows()) == []


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from([20, 60, 300, 5000]))
def test_a_coarse_tick_excuses_equal_closes(walks, seed, price):
    market = ticked(walks, price, days=250, seed=seed, scale=0.015)
    assert len(found(market.rows())) <= 1


def test_a_frozen_stock_of_a_coarse_tick_is_found(walks):
    market = ticked(walks, 30, days=250, scale=0.015)
    stalled = (np.diff(market.close_DN, axis=0) == 0).mean()
    assert stalled > 0.4
    market.close_DN[100:180, 7] = market.close_DN[100, 7]
    assert [stock for _, stock, rows in found(market.rows()) if rows >= 80] == [7]


def test_a_stock_that_never_moves_is_found(walks):
    market = walks()
    market.close_DN[:, 5] = 77.0
    assert found(market.rows()) == [(0, 5, 120)]
