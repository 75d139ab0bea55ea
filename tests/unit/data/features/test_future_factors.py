"""No feature moves with a factor that only the future knows: a later split, a later dividend."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy import stats

from atft_hpo.config.data_schema import FeaturesConfig
from atft_hpo.data.features.catalogue import catalogue

Build = Callable[..., pl.DataFrame]
PRICES = ["open", "high", "low", "close"]
NAMES = [doc.name for doc in catalogue(FeaturesConfig())]
BEFORE = 230
"""Day t*: what happens later is unknown up to here."""


def assert_equal_features(found: pl.DataFrame, expected: pl.DataFrame, atol: float = 1e-6) -> None:
    assert found.select("date", "code").equals(expected.select("date", "code"))
    for name in NAMES:
        after, before = found[name].to_numpy(), expected[name].to_numpy()
        np.testing.assert_allclose(after, before, rtol=2e-5, atol=atol, err_msg=name)


def priced(frame: pl.DataFrame) -> pl.DataFrame:
    """With the day's money as the table's own column."""
    return frame.with_columns(traded_value=pl.col("close") * pl.col("volume"))


def rescaled(frame: pl.DataFrame, where: pl.Expr, price: float, volume: float) -> pl.DataFrame:
    """As adjusted later: prices times, and volume by, factors that the past does not know."""
    return frame.with_columns(
        *(pl.when(where).then(pl.col(n) * price).otherwise(pl.col(n)).alias(n) for n in PRICES),
        volume=pl.when(where).then(pl.col("volume") / volume).otherwise(pl.col("volume")),
    )


@pytest.fixture(scope="module")
def past(prices: pl.DataFrame) -> pl.DataFrame:
    return priced(prices).filter(pl.col("day") <= BEFORE)


@pytest.fixture(scope="module")
def features_then(past: pl.DataFrame, build: Build) -> pl.DataFrame:
    return build(past)


@pytest.mark.parametrize(("price", "volume"), [(0.2, 1.0), (1.0, 0.2), (3.7, 11.3)])
def test_rescaling_the_past_of_some_stocks_changes_no_feature(
    price: float, volume: float, past: pl.DataFrame, features_then: pl.DataFrame, build: Build
) -> None:
    some = pl.col("code").is_in(["S0", "S3", "S4", "S6"])
    assert_equal_features(build(rescaled(past, some, price, volume)), features_then)


def as_quoted(frame: pl.DataFrame, day: int) -> pl.DataFrame:
    """Raw, with the adjusted close: on `day`, S3 splits 5:1, S6 1:8, and S7 pays 4 %."""
    code, before = pl.col("code"), pl.col("day") < day
    ratio = pl.when(before & (code == "S3")).then(5.0)
    ratio = ratio.when(before & (code == "S6")).then(1 / 8).otherwise(1.0)
    paid = pl.when(before & (code == "S7")).then(0.96).otherwise(1.0)
    return frame.with_columns(
        *(pl.col(name) * ratio / paid for name in PRICES),
        volume=pl.col("volume") / ratio,
        adj_close=pl.col("close"),
    )


@pytest.mark.parametrize("volume", ["none", "auto"])
def test_features_before_a_split_are_those_that_did_not_know_of_it(
    volume: str, prices: pl.DataFrame, build: Build
) -> None:
    quoted = as_quoted(prices, BEFORE + 1)
    known = quoted.filter(pl.col("day") <= BEFORE).with_columns(adj_close=pl.col("close"))
    end = known["date"].max()
    whole = build(quoted, data={"volume_adjustment": volume}).filter(pl.col("date") <= end)
    assert_equal_features(whole, build(known))


def test_features_across_a_split_are_those_of_a_stock_that_did_not_split(
    prices: pl.DataFrame, build: Build
) -> None:
    calm = prices.filter(pl.col("code") != "S7")
    quoted = as_quoted(calm, 150)
    unsplit = calm.with_columns(adj_close=pl.col("close"))
    found, expected = build(quoted), build(unsplit)
    assert_equal_features(found, expected)
    np.testing.assert_allclose(found["traded_value"], expected["traded_value"], rtol=1e-12)
    ratio = found.filter(pl.col("code") == "S3")["liquidity__volume_ratio_20d"]
    assert abs(ratio[145:155].mean() - ratio[120:145].mean()) < 1  # 5:1 as traded adds ln 5


def splitting_walks(days: int = 520, stocks: int = 150, seed: int = 0) -> pl.DataFrame:
    """Random walks that split 2:1 when they pass 120; volume as traded, of one dollar value."""
    rng = np.random.default_rng(seed)
    close = np.empty((days, stocks))
    share = np.ones((days, stocks))
    price, shares = rng.uniform(45, 120, stocks), np.ones(stocks)
    for day in range(days):
        price = price * np.exp(rng.normal(0, 0.025, stocks))
        high = price > 120
        price, shares = np.where(high, price / 2, price), np.where(high, shares * 2, shares)
        close[day], share[day] = price, shares
    adjusted = close * share / share[-1]
    volume = np.exp(rng.normal(0, 0.4, close.shape)) * 1e7 / close
    day, stock = (x.ravel() for x in np.indices(close.shape))
    return pl.DataFrame(
        {
            "date": np.busday_offset("2018-01-01", day, roll="forward").astype("datetime64[D]"),
            "code": [f"W{s:03d}" for s in stock],
            **{name: close.ravel() for name in PRICES},
            "adj_close": adjusted.ravel(),
            "volume": volume.ravel(),
            "old": (adjusted * volume).ravel(),
            "day": day,
            "member": True,
        }
    )


def test_dollar_volume_no_longer_knows_which_stocks_will_split(build: Build) -> None:
    """The old feature, on back-adjusted closes, foretold splits, hence past and future rises."""
    walks = splitting_walks().sort("code", "date")
    built = build(walks, families=["liquidity"], windows_days=[20])
    walks = walks.with_columns(
        new=built["liquidity__log_dollar_volume_20d"],
        old=pl.col("old").rolling_mean(20).over("code").log(),
        later=(pl.col("adj_close").shift(-20) / pl.col("adj_close")).over("code"),
    ).drop_nulls()
    ic = {"old": [], "new": []}
    for day in range(40, 490, 20):  # spans that do not overlap
        today = walks.filter(pl.col("day") == day)
        for name, daily in ic.items():
            daily.append(stats.spearmanr(today[name], today["later"]).statistic)
    t = {name: np.mean(d) / (np.std(d, ddof=1) / np.sqrt(len(d))) for name, d in ic.items()}
    assert np.mean(ic["old"]) < -0.03
    assert t["old"] < -3
    assert abs(np.mean(ic["new"])) < 0.03
    assert abs(t["new"]) < 2.5
