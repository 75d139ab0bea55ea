import numpy as np
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.prices import read_prices
from atft_hpo.data.suspicious.judged_prices import JudgedPrices
from atft_hpo.data.suspicious.split_ratios import RATIOS, unadjusted_splits
from atft_hpo.progress import silent

DAY, STOCK = 70, 4


def named(rows):
    """(day, stock, ratio) of each split."""
    splits = unadjusted_splits(rows)
    days, stocks = rows.day_R[splits.row_M], rows.stock_of(splits.row_M)
    return list(zip(days.tolist(), stocks.tolist(), splits.name_M.tolist(), strict=True))


def planted(walks, new=5, old=1, raw_volume=True, **kind):
    """Walks where one stock splits and its past is not adjusted."""
    market = walks(**kind)
    market.rescale(DAY, STOCK, new / old)
    if raw_volume:
        market.volume_DN[:DAY, STOCK] *= old / new
    return market


@pytest.mark.parametrize("raw_volume", [True, False])
@pytest.mark.parametrize(("new", "old"), RATIOS)
def test_every_ratio_is_named(walks, new, old, raw_volume):
    market = planted(walks, new, old, raw_volume, scale=0.01)
    assert named(market.rows()) == [(DAY, STOCK, f"{new}:{old}")]


def test_many_stocks_may_split_on_one_day(walks):
    market = walks(stocks=24)
    for stock in range(12):
        market.rescale(DAY, stock, 5.0)
    assert named(market.rows()) == [(DAY, stock, "5:1") for stock in range(12)]
    assert named(market.rows(closes_only=True)) == [(DAY, stock, "5:1") for stock in range(12)]


def test_the_days_market_move_is_taken_out(walks):
    market = planted(walks, 2, 1, scale=0.01)
    market.close_DN[DAY:] *= 0.88
    market.open_DN[DAY:] *= 0.88
    assert named(market.rows()) == [(DAY, STOCK, "2:1")]


def test_a_split_over_missing_days_and_on_the_newest_day(walks):
    market = planted(walks)
    market.close_DN[DAY - 3 : DAY, STOCK] = np.nan
    assert named(market.rows()) == [(DAY, STOCK, "5:1")]
    for grid in (market.close_DN, market.open_DN, market.volume_DN):
        grid[DAY + 1 :] = np.nan
    assert named(market.rows()) == [(DAY, STOCK, "5:1")]


@pytest.mark.parametrize("days", [2, 3, 4, 5, 12])
def test_some_days_in_another_unit_are_two_steps(walks, days):
    market = planted(walks, 10, 1)
    market.rescale(DAY - days, STOCK, 0.1)
    assert named(market.rows()) == [(DAY - days, STOCK, "1:10"), (DAY, STOCK, "10:1")]


def test_an_unknown_open_or_volume_does_not_hide_a_split(walks):
    market = planted(walks)
    market.open_DN[DAY], market.volume_DN[:] = np.nan, np.nan
    assert named(market.rows()) == [(DAY, STOCK, "5:1")]


# What is no split


def crash(walks, factor=0.5):
    market = walks(scale=0.01)
    market.rescale(DAY, STOCK, 1 / factor)
    return market


def test_a_crash_with_its_trades_is_no_split(walks):
    market = crash(walks)
    assert named(market.rows()) == [(DAY, STOCK, "2:1")]
    market.volume_DN[DAY, STOCK] *= 30
    assert named(market.rows()) == []


def test_a_fall_in_the_course_of_a_day_is_no_split(walks):
    market = crash(walks)
    market.open_DN[DAY, STOCK] = market.close_DN[DAY - 1, STOCK]
    assert named(market.rows()) == []


def test_a_fall_that_is_not_over_is_no_split(walks):
    market = crash(walks)
    market.close_DN[DAY + 1 :, STOCK] *= 0.8
    assert named(market.rows()) == []


def test_a_price_that_recovers_is_no_split(walks):
    market = crash(walks)
    for day in range(1, 5):
        market.close_DN[DAY + day :, STOCK] *= 2**0.25
    assert named(market.rows()) == []


def test_a_day_locked_at_its_limit_is_no_split(walks):
    market = crash(walks, 2 / 3)
    assert named(market.rows()) == [(DAY, STOCK, "3:2")]
    market.open_DN[DAY, STOCK] = market.close_DN[DAY, STOCK]
    assert named(market.rows()) == []


def test_a_third_less_cannot_be_judged_by_closes_alone(walks):
    assert named(crash(walks, 2 / 3).rows(closes_only=True)) == []
    assert named(crash(walks).rows(closes_only=True)) == [(DAY, STOCK, "2:1")]


def test_between_two_ratios_there_is_none(walks):
    assert named(crash(walks, 0.59).rows()) == []


def test_of_the_jumps_that_fat_tails_make_few_look_like_splits(walks):
    markets = [walks(250, 60, seed=seed, scale=0.012, tails=3) for seed in range(40)]
    jumps = [np.abs(np.diff(np.log(m.close_DN), axis=0)) > 0.3 for m in markets]
    assert sum(jump.sum() for jump in jumps) > 80
    assert sum(len(named(m.rows())) for m in markets) <= 2


def test_real_panels(real_data):
    """The errors in two real tables, and no crash among them."""
    for name, found in (
        ("us_sp500_daily", {("2016-03-23", "UA", "2:1")}),
        (
            "jp_tse_daily",
            {("2017-03-29", "8919", "2:5"), ("2020-02-18", "5449", "100:1"),
             ("2020-06-29", "7944", "2:5")},
        ),
    ):  # fmt: skip
        rows = JudgedPrices.of_prices(
            read_prices(real_data / f"{name}.parquet", DataConfig(source="ohlcv"), silent)
        )
        names = {(str(rows.dates[d]), rows.codes[s], ratio) for d, s, ratio in named(rows)}
        assert names == found
