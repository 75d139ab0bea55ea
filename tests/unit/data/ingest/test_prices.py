"""What becomes of rows without a trade and of blemishes, what is refused, what is reported."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.price_rows import PRICE_COLUMNS
from atft_hpo.data.ingest.prices import Prices, read_prices
from atft_hpo.errors import DataError
from atft_hpo.progress import silent

HOLES = DataConfig(max_repaired_share=0.2)


@pytest.fixture
def small(make_prices) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    frame: pl.DataFrame = make_prices(days=30, stocks=4)
    return frame.with_columns(volume=pl.col("volume") + 1)


def read(frame: pl.DataFrame, folder: Path, config: DataConfig = HOLES) -> Prices:
    frame.write_parquet(folder / "prices.parquet")
    return read_prices(folder / "prices.parquet", config, silent)


def message(frame: pl.DataFrame, folder: Path, config: DataConfig = HOLES) -> str:
    with pytest.raises(DataError) as caught:
        read(frame, folder, config)
    text = str(caught.value)
    assert "\n" not in text
    return text


def universe(column: str) -> DataConfig:
    return DataConfig.model_validate({"features": {"universe_column": column}})


def at(code: str, day: int) -> pl.Expr:
    return (pl.col("code") == code) & (pl.col("day") == day)


HERE = at("S2", 4) | at("S3", 20)


def spoilt(frame: pl.DataFrame, value: float | None, *names: str) -> pl.DataFrame:
    """`value` at two places."""
    return frame.with_columns(
        pl.when(HERE).then(value).otherwise(pl.col(name)).alias(name) for name in names
    )


def rows(prices: Prices, frame: pl.DataFrame) -> list[int]:
    """The places of the spoilt rows."""
    wanted = frame.sort("code", "date").with_row_index().filter(HERE)["index"].to_list()
    assert len(prices.day_R) == frame.height
    return list(wanted)


def test_rows_are_sorted_by_stock_then_day(small: pl.DataFrame, tmp_path: Path) -> None:
    prices = read(small.sample(fraction=1.0, shuffle=True, seed=0), tmp_path)
    ordered = small.sort("code", "day")
    assert prices.codes == ("S0", "S2", "S3")
    np.testing.assert_array_equal(prices.close_R, ordered["close"].to_numpy())
    np.testing.assert_array_equal(prices.day_R, ordered["day"].to_numpy())
    np.testing.assert_array_equal(prices.starts, [0, 28, 58, 88])
    assert prices.sector_names == ("sector 0", "sector 2")
    np.testing.assert_array_equal(prices.sector_R, [0] * 28 + [1] * 30 + [0] * 30)
    assert prices.alive_R.all()
    assert prices.report["repaired"] == {}


def test_the_universe_column_is_read_and_null_is_outside(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    flags = small.with_columns(flag=pl.when(pl.col("day") > 3).then(pl.col("day") > 10))
    prices = read(flags, tmp_path, universe("flag"))
    np.testing.assert_array_equal(prices.alive_R, prices.day_R > 10)


@pytest.mark.parametrize("absent", [None, float("nan"), 0.0])
@pytest.mark.parametrize("names", [("open",), ("high", "low"), ("open", "high", "low")])
def test_a_close_without_open_high_or_low_is_a_price_without_a_range(
    absent: float | None, names: tuple[str, ...], small: pl.DataFrame, tmp_path: Path
) -> None:
    prices = read(spoilt(small, absent, *names), tmp_path)
    here = rows(prices, small)
    for prices_R in (prices.open_R, prices.high_R, prices.low_R):
        assert np.flatnonzero(np.isnan(prices_R)).tolist() == here
    assert np.isfinite(prices.close_R).all()
    assert prices.tradable_R.all()
    assert prices.report["repaired"] == {"no_range": 2}


@pytest.mark.parametrize(
    ("absent", "kind"), [(None, "no_volume"), (float("nan"), "no_volume"), (0.0, "zero_volume")]
)
def test_no_volume_is_a_mark_at_which_nobody_could_trade(
    absent: float | None, kind: str, small: pl.DataFrame, tmp_path: Path
) -> None:
    prices = read(spoilt(small, absent, "volume"), tmp_path)
    here = rows(prices, small)
    assert np.flatnonzero(~prices.tradable_R).tolist() == here
    assert (prices.volume_R[here] == 0).all()
    assert (prices.traded_value_R[here] == 0).all()
    assert prices.report["repaired"] == {kind: 2}


@pytest.mark.parametrize("absent", [None, float("nan"), 0.0])
def test_a_row_without_a_close_is_left_out(
    absent: float | None, small: pl.DataFrame, tmp_path: Path
) -> None:
    prices = read(spoilt(small, absent, "close"), tmp_path)
    np.testing.assert_array_equal(prices.close_R, small.filter(~HERE).sort("code", "date")["close"])
    assert prices.report["repaired"] == {"no_close": 2}


def test_a_close_without_its_adjusted_close_is_left_out(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    frame = spoilt(small.with_columns(adj_close=pl.col("close") / 2), None, "adj_close")
    prices = read(frame, tmp_path)
    assert len(prices.day_R) == frame.height - 2
    assert prices.report["repaired"] == {"no_adjusted_close": 2}


def test_empty_rows_before_a_listing_and_after_a_delisting_may_be_many(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    outside = (pl.col("day") < 8) | (pl.col("day") > 22)
    names = ("open", "high", "low", "close", "volume")
    frame = small.with_columns(
        pl.when(outside & (pl.col("code") != "S0")).then(None).otherwise(pl.col(n)).alias(n)
        for n in names
    )
    prices = read(frame, tmp_path, DataConfig())
    assert prices.report["repaired"] == {"outside_listing": 30}
    assert len(prices.day_R) == small.height - 30
    halted = frame.filter(~outside).with_columns(
        pl.when(pl.col("day").is_in([9, 12])).then(None).otherwise(pl.col(n)).alias(n)
        for n in names
    )
    assert "6 of 43 rows (14.0%) without a close: left out (no_close)" in message(
        halted, tmp_path, DataConfig()
    )


def test_a_day_and_a_stock_without_any_close_are_none(small: pl.DataFrame, tmp_path: Path) -> None:
    gone = (pl.col("day") == 3) | (pl.col("code") == "S2")
    frame = small.with_columns(close=pl.when(~gone).then(pl.col("close")))
    prices = read(frame, tmp_path, DataConfig(max_repaired_share=1))
    assert prices.codes == ("S0", "S3")
    assert len(prices.dates) == 29
    assert prices.starts.tolist() == [0, 27, 56]
    assert "no row has a close" in message(small.with_columns(close=pl.lit(0.0)), tmp_path)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("no_close", {"close": None}),
        ("no_range", {"open": None}),
        ("no_volume", {"volume": None}),
        ("widened", {"open": 1e-3}),
    ],
)
def test_more_than_the_share_is_refused_with_kind_share_and_setting(
    kind: str, change: dict[str, float | None], small: pl.DataFrame, tmp_path: Path
) -> None:
    ((name, value),) = change.items()
    wrong = pl.col("day") % 10 == 5
    frame = small.with_columns(pl.when(wrong).then(value).otherwise(pl.col(name)).alias(name))
    text = message(frame, tmp_path, DataConfig())
    assert "9 of 88 rows (10.2%)" in text
    assert kind in text
    assert "data.max_repaired_share = 0.05" in text
    assert read(frame, tmp_path, HOLES).report["repaired"] == {kind: 9}


def test_volumes_of_0_may_be_many(small: pl.DataFrame, tmp_path: Path) -> None:
    frame = small.with_columns(volume=pl.when(pl.col("day") % 2 == 0).then(0).otherwise(7))
    prices = read(frame, tmp_path, DataConfig())
    np.testing.assert_array_equal(prices.tradable_R, prices.day_R % 2 == 1)


def test_high_and_low_are_widened_and_counted(small: pl.DataFrame, tmp_path: Path) -> None:
    high = pl.when(at("S2", 4)).then(pl.col("low") * 0.9).otherwise(pl.col("high"))
    low = pl.when(at("S3", 20)).then(pl.col("high") * 2).otherwise(pl.col("low"))
    prices = read(small.with_columns(high=high, low=low), tmp_path)
    assert prices.report["repaired"] == {"widened": 2}
    assert (prices.high_R >= np.maximum(prices.open_R, prices.close_R)).all()
    assert (prices.low_R <= np.minimum(prices.open_R, prices.close_R)).all()


def test_an_adjusted_close_among_raw_prices_is_refused(small: pl.DataFrame, tmp_path: Path) -> None:
    close = pl.col("close") * (0.8 + 0.2 * pl.col("day") / 30)
    text = message(small.with_columns(close=close), tmp_path)
    assert "'close' is outside 'low' … 'high'" in text
    assert "as adj_close" in text


def test_all_prices_are_multiplied_by_adjusted_over_close(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    prices = read(small.with_columns(adj_close=pl.col("close") / 3), tmp_path)
    ordered = small.sort("code", "day")
    np.testing.assert_allclose(prices.traded_value_R, ordered["close"] * ordered["volume"])
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(getattr(prices, f"{name}_R"), ordered[name] / 3)


def test_a_day_locked_at_its_limit_cannot_be_traded(tmp_path: Path) -> None:
    """Thin days have one price, too: only the jump tells. A split is no jump."""
    close = [100.0, 100.0, 102.9, 110.0, 110.0, 55.0, 50.0]
    factor = [0.5] * 5 + [1.0] * 2
    frame = pl.DataFrame(
        {
            "date": np.arange("2020-01-06", "2020-01-13", dtype="datetime64[D]"),
            "code": "A",
            **{name: close for name in ("open", "high", "low", "close")},
            "adj_close": np.array(close) * factor,
            "volume": 5.0,
        }
    )
    both = pl.concat([frame, frame.with_columns(code=pl.lit("B"), high=pl.col("high") + 1)])
    prices = read(both, tmp_path)
    assert prices.tradable_R.tolist() == [True, True, True, False, True, True, False] + [True] * 7
    assert prices.report["repaired"] == {"limit_locked": 2}


def test_duplicates_are_counted_with_an_example(small: pl.DataFrame, tmp_path: Path) -> None:
    text = message(pl.concat([small, small.filter(HERE)]), tmp_path)
    assert "2 duplicate (date, code) row(s), such as (2019-01-07, S2)" in text


@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [-3.0, float("inf"), float("-inf")])
def test_an_impossible_number_is_counted_with_an_example(
    name: str, value: float, small: pl.DataFrame, tmp_path: Path
) -> None:
    text = message(spoilt(small, value, name), tmp_path)
    assert (
        f"column {name!r} ({name}) has 2 wrong value(s), such as {value:g} at (2019-01-07, S2)"
        in text
    )


def test_a_mid_price_of_crsp_is_explained(small: pl.DataFrame, tmp_path: Path) -> None:
    names = {"code": "PERMNO", "close": "PRC", "volume": "VOL", "low": "BIDLO", "high": "ASKHI"}
    assert "mid of bid and ask as a negative price" in message(
        spoilt(small, -3.0, "close").rename({**names, "open": "OPENPRC"}), tmp_path
    )


def test_an_impossible_number_in_one_of_several_files_names_the_file(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    for part in range(3):
        piece = small.filter(pl.col("day") % 3 == part)
        if part == 1:
            piece = piece.with_columns(open=-pl.col("open"))
        piece.write_parquet(tmp_path / f"{part}.parquet")
    with pytest.raises(DataError, match=r"\(2019-01-02, S0\) in 1\.parquet"):
        read_prices(tmp_path, HOLES, silent)


def test_null_keys_and_no_rows_are_errors(small: pl.DataFrame, tmp_path: Path) -> None:
    nameless = small.with_columns(code=pl.when(pl.col("day") > 3).then(pl.col("code")))
    assert "column 'code' is null in 12 row(s)" in message(nameless, tmp_path)
    assert "no rows" in message(small.clear(), tmp_path)


def test_what_was_taken_left_out_and_mended_is_told_and_reported(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    told: list[str] = []
    frame = spoilt(small, None, "volume").rename({"close": "Close", "date": "Trade Date"})
    frame.write_parquet(tmp_path / "prices.parquet")
    prices = read_prices(tmp_path / "prices.parquet", DataConfig(), told.append)
    assert prices.report["columns"]["close"] == "Close"
    assert prices.report["columns"]["date"] == "Trade Date"
    assert prices.report["unused"] == ["day", "member"]
    assert sum("close = Close" in line and "left out: day, member" in line for line in told) == 1
    assert any("2 rows with a close but without a volume" in line for line in told)


def test_a_split_on_a_day_without_a_close_happens_on_the_next_day(
    small: pl.DataFrame, tmp_path: Path
) -> None:
    """J-Quants: the factor stands on the ex-day, whether the stock was traded or not."""
    later = (pl.col("code") == "S2") & (pl.col("day") >= 10)
    prices = [pl.when(later).then(pl.col(n) / 4).otherwise(pl.col(n)) for n in PRICE_COLUMNS]
    quoted = small.with_columns(
        *prices,
        volume=pl.when(later).then(pl.col("volume") * 4).otherwise(pl.col("volume")),
        AdjustmentFactor=pl.when(at("S2", 10)).then(0.25).otherwise(1.0),
    )
    closed = [pl.when(at("S2", 10)).then(None).otherwise(pl.col(n)).alias(n) for n in PRICE_COLUMNS]
    found = read(quoted.with_columns(closed), tmp_path)
    expected = small.filter(~at("S2", 10)).sort("code", "day")
    factor = np.where(expected["code"] == "S2", 4, 1)
    np.testing.assert_allclose(found.close_R, expected["close"] / factor)
    np.testing.assert_allclose(found.volume_R, expected["volume"] * factor)
    np.testing.assert_allclose(found.traded_value_R, expected["close"] * expected["volume"])
    assert found.report["adjustment"]["splits"] == 1
