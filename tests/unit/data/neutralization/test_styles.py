"""Each style against its formula on one stock, and causality bit by bit."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from atft_hpo.data.neutralization.styles import (
    LOOKBACK_DAYS,
    STYLES,
    exposures_of,
    style_names,
    style_ranks,
)
from atft_hpo.data.store.panel import Panel


@dataclass
class Market:
    """As much of a panel as styles look at."""

    returns: np.ndarray
    alive: np.ndarray
    traded_value: np.ndarray | None
    sector: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    @property
    def dates(self) -> np.ndarray:
        return np.arange(len(self.returns))


def market(seed: int, days: int = 150, stocks: int = 25) -> Market:
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 0.01, (days, 1)) * rng.normal(1, 0.5, stocks)
    returns = common + rng.normal(0, 0.02, (days, stocks)) * np.exp(rng.normal(size=stocks))
    traded = np.exp(rng.normal(10, 2, (days, stocks)))
    returns[rng.random((days, stocks)) < 0.05] = np.nan
    traded[rng.random((days, stocks)) < 0.05] = np.nan
    alive = rng.random((days, stocks)) < 0.95
    return Market(returns.astype(np.float32), alive, traded.astype(np.float32))


def windows(column: np.ndarray, day: int, length: int) -> np.ndarray:
    part = column[max(0, day - length + 1) : day + 1].astype(np.float64)
    return part[np.isfinite(part)] if np.isfinite(part).sum() >= length / 2 else np.array([])


def slope(found: Market, n: int, day: int) -> float:
    span = slice(day - 119, day + 1)
    counted = np.where(found.alive, found.returns, np.nan)[span].astype(np.float64)
    r, m = found.returns[span, n].astype(np.float64), np.nanmean(counted, axis=1)
    known = np.isfinite(r)
    return float(np.cov(r[known], m[known], ddof=0)[0, 1] / m[known].var())


def by_hand(found: Market, name: str, day: int) -> np.ndarray:
    """Exposure of every stock from its formula."""

    def of(n: int) -> float:
        r, value = found.returns[:, n], found.traded_value[:, n]
        skipped = slice(None, day - 20 + 1)
        formulas: dict[str, Callable[[], float]] = {
            "liquidity": lambda: float(np.log(windows(value, day, 20).mean())),
            "volatility_60d": lambda: float(np.sqrt((windows(r, day, 60) ** 2).mean())),
            "volatility_20d": lambda: float(np.sqrt((windows(r, day, 20) ** 2).mean())),
            "reversal_5d": lambda: -float(np.log1p(windows(r, day, 5)).sum()),
            "reversal_20d": lambda: -float(np.log1p(windows(r, day, 20)).sum()),
            "momentum_120_20": lambda: float(np.log1p(windows(r[skipped], day - 20, 100)).sum()),
            "beta_120d": lambda: slope(found, n, day),
            "max_return_20d": lambda: float(windows(r, day, 20).max()),
        }
        return formulas[name]()

    return np.array([of(n) for n in range(found.returns.shape[1])])


@pytest.mark.parametrize("name", STYLES)
def test_ranks_are_those_of_the_formula(name: str) -> None:
    found, day = market(0), 140
    found.returns[136:141, 3] = [np.nan, np.nan, 0.01, 0.02, 0.03]  # three of five days: enough
    alive_N = found.alive[day]
    ranks_N = rankdata(by_hand(found, name, day)[alive_N])
    n = len(ranks_N)
    expected = (ranks_N - (n + 1) / 2) / np.sqrt((n**2 - 1) / 12)
    ranks_DNK = style_ranks(found)
    np.testing.assert_allclose(ranks_DNK[day, alive_N, STYLES.index(name)], expected, atol=1e-6)
    assert (ranks_DNK[day, ~alive_N] == 0.0).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(10, 148))
def test_nothing_after_a_day_changes_it(seed: int, day: int) -> None:
    found = market(seed)
    before = style_ranks(found)
    other = market(seed + 1)
    for name in ("returns", "alive", "traded_value"):
        getattr(found, name)[day + 1 :] = getattr(other, name)[day + 1 :]
    after = style_ranks(found)
    np.testing.assert_array_equal(after[: day + 1], before[: day + 1])
    assert not np.array_equal(after[day + 1 :], before[day + 1 :])


@pytest.mark.parametrize("first", [0, 1, 100, 130])
def test_a_range_of_days_is_bitwise_that_part_of_all_days(first: int) -> None:
    found = market(1, days=300)
    days = range(first, first + 20)
    np.testing.assert_array_equal(style_ranks(found, days), style_ranks(found)[first : first + 20])


def test_ranks_of_a_day_have_mean_0_and_variance_1() -> None:
    found = market(2)
    ranks = style_ranks(found)[-1, found.alive[-1]].astype(np.float64)
    np.testing.assert_allclose(ranks.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(ranks.var(axis=0), 1.0, atol=1e-5)


def test_a_window_with_less_than_half_its_returns_gives_no_exposure() -> None:
    found = market(3)
    found.alive[:] = True
    found.returns[110:, 4] = np.nan  # 40 days of silence, 80 of the last 120 known
    last = dict(zip(STYLES, style_ranks(found)[-1, 4], strict=True))
    assert last["volatility_20d"] == last["reversal_5d"] == last["max_return_20d"] == 0.0
    assert last["beta_120d"] != 0.0 != last["momentum_120_20"]


def test_the_first_days_have_no_exposure_and_a_stopped_stock_no_rounding() -> None:
    found = market(4)
    found.returns[:2] = np.nan
    found.returns[100:, 5] = 0.0
    found.returns[100:, 6] = 0.0
    ranks = style_ranks(found)
    assert (ranks[0] == 0.0).all()
    found.alive[-1] = True
    last = style_ranks(found)[-1]
    assert last[5, STYLES.index("volatility_20d")] == last[6, STYLES.index("volatility_20d")]


def test_without_traded_values_liquidity_is_left_out(panel: Panel) -> None:
    assert panel.traded_value is None
    assert style_names(panel) == STYLES[1:]
    assert style_ranks(panel).shape == (*panel.alive.shape, len(STYLES) - 1)


def test_with_traded_values_the_panel_has_liquidity(pack, market: pl.DataFrame) -> None:  # type: ignore[no-untyped-def]
    exact = pl.int_range(pl.len()).cast(pl.Float64)
    value = pl.when(pl.col("code") == "S003").then(None).otherwise(exact)
    panel = pack(market.with_columns(traded_value=value))
    assert style_names(panel) == STYLES
    assert "traded_value" not in panel.feature_names
    d, n = panel.manifest.dates.index("2020-03-01"), panel.manifest.codes.index("S005")
    row = market.with_columns(value=exact).filter(pl.col("code") == "S005").sort("date")
    assert panel.traded_value[d, n] == row["value"][d]
    assert np.isnan(panel.traded_value[:, panel.manifest.codes.index("S003")]).all()
    panel.verify()


def test_exposures_of_a_range_come_with_sectors_and_names(panel: Panel) -> None:
    days = range(100, 120)
    found = exposures_of(panel, days)
    assert found.names == style_names(panel)
    np.testing.assert_array_equal(found.styles_DNK, style_ranks(panel)[100:120])
    np.testing.assert_array_equal(found.sector_DN, panel.sector[100:120])
    assert LOOKBACK_DAYS == 120
