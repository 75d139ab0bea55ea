"""The same market in every convention that tables come in gives the same prices, volumes, money."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from atft_hpo.data.ingest.adjustment.adjusted_prices import AdjustedPrices, RawPrices, adjust
from atft_hpo.progress import silent

STOCKS, ROWS = 15, 120


@dataclass(frozen=True)
class Market:
    """Stocks of which twelve split 5:1, one of them paying a dividend later on; as quoted."""

    close: np.ndarray
    volume: np.ndarray
    ratio: np.ndarray
    shares: np.ndarray
    """Prices of the day times this are in shares of the last row."""
    dividends: np.ndarray
    """And times this, free of later dividends."""

    @property
    def raw(self) -> RawPrices:
        return self.table(self.close, self.volume)

    def table(self, close: np.ndarray, volume: np.ndarray, **columns: Any) -> RawPrices:
        starts = np.arange(0, close.size + 1, ROWS)
        return RawPrices(starts, close * 0.99, close * 1.02, close * 0.98, close, volume, **columns)


@pytest.fixture(scope="module")
def market() -> Market:
    rng = np.random.default_rng(0)
    ratio = np.ones((STOCKS, ROWS))
    ratio[np.arange(12), 40 + 3 * np.arange(12)] = 5.0
    shares = np.exp(np.log(ratio).cumsum(axis=1) - np.log(ratio).sum(axis=1)[:, None])
    dividends = np.where((np.arange(STOCKS) == 2)[:, None] & (np.arange(ROWS) < 100), 0.98, 1.0)
    adjusted = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, ratio.shape), axis=1))
    volume = np.exp(rng.normal(11, 0.6, ratio.shape))
    volume[5, 7] = 0
    close = adjusted / shares / dividends
    parts = (close, volume * shares, ratio, shares, dividends)
    return Market(*(part.ravel() for part in parts))


def conventions(m: Market) -> dict[str, RawPrices]:
    adjusted, shares = m.close * m.shares * m.dividends, m.shares
    of_split = m.close * shares
    return {
        "raw, adj_close, raw volume": m.table(m.close, m.volume, adj_close_R=adjusted),
        "raw, adj_close, split-adjusted volume": m.table(
            m.close, m.volume / shares, adj_close_R=adjusted
        ),
        "split-adjusted, adj_close, splits, split-adjusted volume (Yahoo)": m.table(
            of_split, m.volume / shares, adj_close_R=adjusted, split_ratio_R=m.ratio
        ),
        "split-adjusted, adj_close, splits, raw volume": m.table(
            of_split, m.volume, adj_close_R=adjusted, split_ratio_R=m.ratio
        ),
        "raw, adj_close, adj_volume, factors (J-Quants)": m.table(
            m.close,
            m.volume,
            adj_close_R=adjusted,
            adj_volume_R=m.volume / shares,
            split_ratio_R=m.ratio,
        ),
        "split-adjusted, adj_close, split-adjusted volume, no splits": m.table(
            of_split, m.volume / shares, adj_close_R=adjusted
        ),
    }


def adjusted(raw: RawPrices, setting: Any = "auto") -> AdjustedPrices:
    return adjust(raw, setting, silent)


@pytest.mark.parametrize("name", conventions(Market(*np.ones((5, STOCKS * ROWS)))))
def test_all_conventions_give_the_same(market: Market, name: str) -> None:
    found = adjusted(conventions(market)[name])
    close = market.close * market.shares * market.dividends
    np.testing.assert_allclose(found.close_R, close, rtol=1e-12)
    np.testing.assert_allclose(found.open_R, 0.99 * close, rtol=1e-12)
    np.testing.assert_allclose(found.high_R / found.low_R, 1.02 / 0.98, rtol=1e-12)
    np.testing.assert_allclose(found.volume_R, market.volume / market.shares, rtol=1e-12)
    np.testing.assert_allclose(found.traded_value_R, market.close * market.volume, rtol=1e-12)


def test_without_an_adjusted_close_splits_alone_adjust_a_raw_one(market: Market) -> None:
    found = adjusted(market.table(market.close, market.volume, split_ratio_R=market.ratio))
    np.testing.assert_allclose(found.close_R, market.close * market.shares)
    assert np.abs(np.diff(np.log(found.close_R.reshape(STOCKS, ROWS)))).max() < 0.1
    again = market.table(found.close_R, found.volume_R, split_ratio_R=market.ratio)
    np.testing.assert_array_equal(adjusted(again).close_R, found.close_R)


def test_the_tables_own_traded_value_is_taken_where_it_is_known(market: Market) -> None:
    given = market.close * market.volume * 1.003
    given[3] = np.nan
    found = adjusted(replace(market.raw, traded_value_R=given)).traded_value_R
    np.testing.assert_allclose(np.delete(found, 3), np.delete(given, 3))
    assert found[3] == pytest.approx(market.close[3] * market.volume[3])


def test_the_setting_overrules_what_the_volumes_say(market: Market) -> None:
    table = conventions(market)["raw, adj_close, raw volume"]
    found = adjusted(table, "split")
    np.testing.assert_array_equal(found.volume_R, table.volume_R)
    assert found.report["volume"] == "split-adjusted"
    assert found.report["volume_known_by"] == "data.volume_adjustment"
    np.testing.assert_allclose(adjusted(table, "none").volume_R, market.volume / market.shares)


def test_too_few_splits_leave_volume_in_the_unit_of_the_close() -> None:
    rng = np.random.default_rng(3)
    ratio = np.where(np.arange(ROWS) == 60, 1.5, 1.0)
    close = np.exp(np.cumsum(rng.normal(0, 0.01, ROWS))) * 50 / np.cumprod(ratio)
    volume = np.exp(rng.normal(11, 0.6, ROWS))
    table = RawPrices(
        np.array([0, ROWS]), close, close, close, close, volume, close * np.cumprod(ratio) / 1.5
    )
    told: list[str] = []
    found = adjust(table, "auto", told.append)
    assert found.report["volume"] == "raw"
    assert "say which with data.volume_adjustment" in told[0]
    np.testing.assert_allclose(found.volume_R[:60], volume[:60] * 1.5)


def test_what_was_found_is_told_and_kept(market: Market) -> None:
    told: list[str] = []
    report = adjust(conventions(market)["raw, adj_close, raw volume"], "auto", told.append).report
    assert told[0].startswith("12 splits in adj_close / close: close is raw, volume raw (its jumps")
    assert (report["splits"], report["close"], report["volume"]) == (12, "raw", "raw")
    assert report["volume_jump"] == pytest.approx(1, abs=0.2)
    told.clear()
    found = adjust(market.raw, "auto", told.append)
    assert told == [
        "no adjusted close and no splits beside the close: prices and volume are taken as adjusted "
        "already, close × volume as the day's money"
    ]
    assert found.price_factor_R is None
    assert found.share_factor_R is None
    assert found.report["traded_value"] == "close × volume"


def test_dividends_divide_no_volume() -> None:
    close = np.full(ROWS, 50.0)
    factor = np.where(np.arange(ROWS) < 60, 0.96, 1.0)
    table = RawPrices(np.array([0, ROWS]), *[close] * 4, np.full(ROWS, 1e5), close * factor)
    found = adjusted(table)
    np.testing.assert_array_equal(found.volume_R, 1e5)
    np.testing.assert_array_equal(found.traded_value_R, 5e6)
    np.testing.assert_allclose(found.close_R, close * factor)
