"""What the input must be, and what each error says."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.prices import Prices, read_prices
from atft_hpo.errors import DataError
from atft_hpo.progress import silent


@pytest.fixture
def small(make_prices) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    frame: pl.DataFrame = make_prices(days=30, stocks=4)
    return frame


def read(frame: pl.DataFrame, folder: Path, universe: str | None = None) -> Prices:
    frame.write_parquet(folder / "prices.parquet")
    config = DataConfig.model_validate({"features": {"universe_column": universe}})
    return read_prices(folder / "prices.parquet", config, silent)


def message(frame: pl.DataFrame, folder: Path, universe: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(frame, folder, universe)
    text = str(caught.value)
    assert "\n" not in text
    return text


def at(code: str, day: int) -> pl.Expr:
    return (pl.col("code") == code) & (pl.col("day") == day)


def spoilt(frame: pl.DataFrame, name: str, value: float | None) -> pl.DataFrame:
    """`value` at two places."""
    there = at("S2", 4) | at("S3", 9)
    return frame.with_columns(pl.when(there).then(value).otherwise(pl.col(name)).alias(name))


def test_rows_are_sorted_by_stock_then_day(small: pl.DataFrame, tmp_path: Path) -> None:
    prices = read(small.sample(fraction=1.0, shuffle=True, seed=0), tmp_path)
    ordered = small.sort("code", "day")
    assert prices.codes == ("S0", "S2", "S3")
    np.testing.assert_array_equal(prices.close_R, ordered["close"].to_numpy())
    np.testing.assert_array_equal(prices.day_R, ordered["day"].to_numpy())
    np.testing.assert_array_equal(prices.starts, [0, 28, 58, 88])
    assert prices.sector_names == ("sector 0", "sector 2")
    assert prices.alive_R.all()
    assert prices.report["widened"] == 0


def test_a_directory_of_files_is_one_table(small: pl.DataFrame, tmp_path: Path) -> None:
    for part in range(2):
        small.filter(pl.col("day") % 2 == part).write_parquet(tmp_path / f"{part}.parquet")
    assert len(read_prices(tmp_path, DataConfig(), silent).day_R) == small.height


def test_dates_as_text_and_codes_as_numbers_are_taken(small: pl.DataFrame, tmp_path: Path) -> None:
    as_text = small.with_columns(
        pl.col("date").cast(pl.String), code=pl.col("code").str.slice(1).cast(pl.Int64)
    )
    prices = read(as_text, tmp_path)
    assert prices.dates[0] == np.datetime64("2019-01-01")
    assert prices.codes == ("0", "2", "3")


def test_the_universe_column_is_read_and_null_is_outside(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    flags = small.with_columns(flag=pl.when(pl.col("day") > 3).then(pl.col("day") > 10))
    prices = read(flags, tmp_path, "flag")
    np.testing.assert_array_equal(prices.alive_R, prices.day_R > 10)


def test_high_and_low_are_widened_and_counted(small: pl.DataFrame, tmp_path: Path) -> None:
    high = pl.when(at("S2", 4)).then(pl.col("low") * 0.9).otherwise(pl.col("high"))
    low = pl.when(at("S3", 9)).then(pl.col("high") * 2).otherwise(pl.col("low"))
    prices = read(small.with_columns(high=high, low=low), tmp_path)
    assert prices.report["widened"] == 2
    assert (prices.high_R >= np.maximum(prices.open_R, prices.close_R)).all()
    assert (prices.low_R <= np.minimum(prices.open_R, prices.close_R)).all()


def test_a_null_volume_is_unknown(small: pl.DataFrame, tmp_path: Path) -> None:
    prices = read(spoilt(small, "volume", None), tmp_path)
    assert np.isnan(prices.volume_R).sum() == np.isnan(prices.traded_value_R).sum() == 2


def test_the_traded_value_is_that_of_prices_before_adjustment(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    prices = read(small.with_columns(adj_close=pl.col("close") / 3), tmp_path)
    ordered = small.sort("code", "day")
    np.testing.assert_allclose(prices.traded_value_R, ordered["close"] * ordered["volume"])
    np.testing.assert_allclose(prices.close_R, ordered["close"] / 3)


def test_a_missing_column_names_the_nearest(small: pl.DataFrame, tmp_path: Path) -> None:
    text = message(small.rename({"close": "Close"}), tmp_path)
    assert "no column 'close'; did you mean 'Close'?" in text
    assert "no column 'membr'; did you mean 'member'?" in message(small, tmp_path, "membr")


def test_duplicates_are_counted_with_an_example(small: pl.DataFrame, tmp_path: Path) -> None:
    again = small.filter(at("S2", 4) | at("S3", 9))
    text = message(pl.concat([small, again]), tmp_path)
    assert "2 duplicate (date, code) row(s), such as (2019-01-07, S2)" in text


@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [0.0, -3.0, None, float("nan"), float("inf")])
def test_an_impossible_price_is_counted_with_an_example(
    name: str, value: float | None, small: pl.DataFrame, tmp_path: Path
) -> None:
    text = message(spoilt(small, name, value), tmp_path)
    assert f"column {name!r} has 2 wrong value(s), such as {value} at (2019-01-07, S2)" in text


def test_a_negative_volume_is_an_error(small: pl.DataFrame, tmp_path: Path) -> None:
    assert "column 'volume' has 2 wrong value(s)" in message(
        spoilt(small, "volume", -1.0), tmp_path
    )


def test_null_keys_and_no_rows_are_errors(small: pl.DataFrame, tmp_path: Path) -> None:
    nameless = small.with_columns(code=pl.when(pl.col("day") > 3).then(pl.col("code")))
    assert "column 'code' is null in 12 row(s)" in message(nameless, tmp_path)
    assert "no rows" in message(small.clear(), tmp_path)


def test_unreadable_input_is_one_line(small: pl.DataFrame, tmp_path: Path) -> None:
    words = small.with_columns(date=pl.lit("yesterday"))
    assert "cannot be read as daily prices" in message(words, tmp_path)
    (tmp_path / "no.parquet").write_text("not parquet")
    for path in (tmp_path / "no.parquet", tmp_path / "absent.parquet"):
        with pytest.raises(DataError, match="cannot be read") as caught:
            read_prices(path, DataConfig(), silent)
        assert "\n" not in str(caught.value)
