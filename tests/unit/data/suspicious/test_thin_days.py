import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.data.suspicious.thin_days import thin_days


def found(rows):
    days = thin_days(rows)
    return list(zip(days.day_M.tolist(), days.missing_M.round(3), days.reason_M, strict=True))


@pytest.fixture
def market(walks):
    return walks(days=60, stocks=40)


def test_a_day_on_which_most_stocks_have_no_row(market):
    market.close_DN[30, 5:] = np.nan
    assert found(market.rows()) == [(30, 0.875, "no rows")]
    assert found(market.rows(closes_only=True)) == [(30, 0.875, "no rows")]


def test_half_of_the_stocks_is_not_most(market):
    market.close_DN[30, :20] = np.nan
    assert found(market.rows()) == []


def test_rows_without_trades(market):
    market.volume_DN[30, :30] = 0
    market.volume_DN[31] = np.nan
    assert found(market.rows()) == [(30, 0.75, "no trades")]


def test_rows_that_repeat_the_day_before(market):
    market.close_DN[30, 4:] = market.close_DN[29, 4:]
    assert found(market.rows()) == [(30, 0.9, "closes unchanged")]


def test_the_newest_and_the_oldest_day_and_several_in_a_row(market):
    for day in (0, 20, 21, 22, 59):
        market.close_DN[day, 3:] = np.nan
    assert [day for day, *_ in found(market.rows())] == [0, 20, 21, 22, 59]


def test_a_panel_that_begins_small_or_ends_small_is_not_thin(market):
    market.close_DN[:25, 4:] = np.nan
    market.close_DN[50:, 8:] = np.nan
    assert found(market.rows()) == []


def test_a_market_that_rarely_trades_is_not_thin_every_day(market):
    rng = np.random.default_rng(0)
    market.volume_DN[rng.random(market.volume_DN.shape) < 0.7] = 0
    assert len(found(market.rows())) <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_scattered_holes_are_not_thin(walks, seed):
    market = walks(days=60, stocks=60, seed=seed)
    rng = np.random.default_rng(seed)
    market.close_DN[rng.random(market.close_DN.shape) < 0.2] = np.nan
    assert found(market.rows()) == []
