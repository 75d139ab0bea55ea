"""Features that need other stocks: relative, beta, ranks; and the calendar, which needs none."""

import datetime

import numpy as np
import polars as pl
import pytest
from scipy import stats


def with_returns(prices: pl.DataFrame) -> pl.DataFrame:
    """Log return r since the stock's previous row, and how many days that is."""
    return prices.sort("code", "day").with_columns(
        r=pl.col("close").log().diff().over("code"), step=pl.col("day").diff().over("code")
    )


def benchmark(prices: pl.DataFrame, sector: str | None = None) -> np.ndarray:
    """[D] mean r of the universe's (sector's) stocks that also have the day before."""
    counted = with_returns(prices).filter(pl.col("member") & (pl.col("step") == 1))
    if sector:
        counted = counted.filter(pl.col("sector") == sector)
    means = counted.group_by("day").agg(pl.col("r").mean())
    out = np.zeros(prices["day"].max() + 1)
    out[means["day"].to_numpy()] = means["r"].to_numpy()
    return out


def value(prices: pl.DataFrame, features: pl.DataFrame, code: str, day: int, name: str) -> float:
    date = prices.filter(pl.col("day") == day)["date"][0]
    return features.filter((pl.col("code") == code) & (pl.col("date") == date))[name].item()


@pytest.mark.parametrize(("against", "code"), [("market", "S5"), ("sector", "S7")])
def test_excess_beta_and_residual(
    against: str, code: str, prices: pl.DataFrame, features: pl.DataFrame
) -> None:
    sector = f"sector {int(code[1]) % 3}" if against == "sector" else None
    own = with_returns(prices).filter((pl.col("code") == code) & (pl.col("day") <= 230))
    r, b = own["r"].to_numpy()[-40:], benchmark(prices, sector)[191:231]
    beta = np.cov(r, b)[0, 1] / b.var(ddof=1)
    idiosyncratic = r.std(ddof=1) * np.sqrt(1 - np.corrcoef(r, b)[0, 1] ** 2)
    expected = {
        f"relative__{against}_excess_40d": (r - b).sum(),
        f"relative__{against}_scaled_40d": (r - b).mean() / (r - b).std(ddof=1),
        f"relative__{against}_wins_40d": (r > b).mean(),
        f"beta__{against}_beta_40d": beta,
        f"beta__{against}_idiosyncratic_40d": idiosyncratic,
        f"beta__{against}_r2_40d": np.corrcoef(r, b)[0, 1] ** 2,
        f"beta__{against}_residual_40d": (r - beta * b).sum() / (idiosyncratic * np.sqrt(40)),
    }
    for name, wanted in expected.items():
        assert value(prices, features, code, 230, name) == pytest.approx(wanted, rel=1e-4), name


def test_lagged_and_downside_beta(prices: pl.DataFrame, features: pl.DataFrame) -> None:
    own = with_returns(prices).filter((pl.col("code") == "S5") & (pl.col("day") <= 230))
    r, m = own["r"].to_numpy()[-60:], benchmark(prices)
    before, fall = m[170:230], np.minimum(m[171:231], 0)
    lagged = np.cov(r, before)[0, 1] / before.var(ddof=1)
    downside = np.cov(r, fall)[0, 1] / fall.var(ddof=1)
    for name, wanted in (("lagged", lagged), ("downside", downside)):
        found = value(prices, features, "S5", 230, f"beta__market_{name}_beta_60d")
        assert found == pytest.approx(wanted, rel=1e-4)


def test_a_stock_that_skipped_days_is_compared_with_the_market_since(
    prices: pl.DataFrame, features: pl.DataFrame
) -> None:
    own = with_returns(prices).filter((pl.col("code") == "S0") & (pl.col("day") == 22))
    assert own["step"].item() == 3
    wanted = own["r"].item() - benchmark(prices)[20:23].sum()
    found = value(prices, features, "S0", 22, "relative__market_excess_1d")
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("rank", "of"),
    [
        ("ranks__log_1d", "returns__log_1d"),
        ("ranks__position_20d", "range__position_20d"),
        ("ranks__market_beta_60d", "beta__market_beta_60d"),
    ],
)
def test_ranks_are_percentiles_among_the_days_universe(
    rank: str, of: str, features: pl.DataFrame
) -> None:
    for date, day in features.group_by("date"):
        inside = day.filter(pl.col("alive") & pl.col(of).is_not_null())
        expected = (stats.rankdata(inside[of]) - 0.5) / max(inside.height, 1)
        np.testing.assert_allclose(inside[rank], expected, atol=1e-6, err_msg=str(date))
        outside = day.filter(~pl.col("alive") & pl.col(of).is_not_null())
        expected = [stats.percentileofscore(inside[of], v, "mean") / 100 for v in outside[of]]
        np.testing.assert_allclose(outside[rank], expected, atol=1e-6, err_msg=str(date))
    assert features.filter(~pl.col("alive"))[rank].is_not_null().any()


def test_ties_share_their_rank(make_prices, build) -> None:  # type: ignore[no-untyped-def]
    prices = make_prices(days=30)
    flat = ["open", "high", "low", "close"]
    still = pl.when(pl.col("code").is_in(["S5", "S6", "S7"])).then(10.0)
    out = build(prices.with_columns(still.otherwise(pl.col(name)).alias(name) for name in flat))
    ranks = (
        out.filter(pl.col("code").is_in(["S5", "S6", "S7"])).group_by("date").agg("ranks__log_1d")
    )
    assert all(len(set(row)) == 1 for row in ranks["ranks__log_1d"])


def test_calendar_is_a_circle_and_the_same_for_all_stocks(features: pl.DataFrame) -> None:
    calendar = features.select("date", pl.col("^calendar__.*$")).unique()
    assert calendar.height == features["date"].n_unique()
    row = calendar.filter(pl.col("date") == datetime.date(2019, 4, 1)).row(0, named=True)
    expected = {"weekday": 0.0, "turn": 0.0, "quarter": 0.0, "year": 3 / 12}
    for name, position in expected.items():
        assert row[f"calendar__{name}_sin"] == pytest.approx(np.sin(2 * np.pi * position), abs=1e-6)
        assert row[f"calendar__{name}_cos"] == pytest.approx(np.cos(2 * np.pi * position), abs=1e-6)
    wednesday = calendar.filter(pl.col("date") == datetime.date(2019, 2, 13)).row(0, named=True)
    assert wednesday["calendar__weekday_sin"] == pytest.approx(np.sin(2 * np.pi * 2 / 5), abs=1e-6)
    assert wednesday["calendar__turn_cos"] == pytest.approx(np.cos(2 * np.pi * 12 / 28), abs=1e-6)
