"""Directories of files that differ, files without codes, and what people are told."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.prices import read_prices
from atft_hpo.data.ingest.sources import FILE_NAME, find_sources, taken
from atft_hpo.errors import DataError
from atft_hpo.progress import silent

KEYS = ("date", "code")


@pytest.fixture
def small(make_prices):
    return make_prices(days=20, stocks=4).drop("day", "member")


def read(path, **config):
    return read_prices(path, DataConfig(**config), silent)


def message(path, **config):
    with pytest.raises(DataError) as caught:
        read(path, **config)
    return str(caught.value)


def equal(a, b):
    assert a.codes == b.codes
    for name in ("dates", "day_R", "close_R", "open_R", "volume_R", "starts"):
        np.testing.assert_allclose(*(getattr(p, name).astype(float) for p in (a, b)), rtol=1e-12)


@pytest.mark.parametrize("key", ["code", "Symbol"])
def test_a_folder_of_a_partitioned_table_bears_the_code(small, tmp_path, key):
    codes = {"S0": "0050", "S1": "BRK/B", "S2": "130A", "S3": "part-0"}
    for old, new in codes.items():
        rows = small.filter(pl.col("code") == old).drop("code")
        folder = tmp_path / "code=none" / f"{key}={new.replace('/', '%2F')}"
        folder.mkdir(parents=True)
        rows.head(9).write_parquet(folder / "part-0.parquet")
        rows.slice(9).write_parquet(folder / "part-1.parquet")
    whole = tmp_path / "whole.parquet"
    small.with_columns(pl.col("code").replace(codes)).write_parquet(whole)
    equal(read(tmp_path / "code=none"), read(whole))


def test_one_file_per_symbol_bears_the_code(small, tmp_path):
    codes = {"S0": "0050", "S2": "130A", "S3": "BRK.B"}
    for old, new in codes.items():
        part = small.filter(pl.col("code") == old).drop("code")
        part.write_csv(tmp_path / f"{new}.csv")
    prices = read(tmp_path)
    assert prices.codes == ("0050", "130A", "BRK.B")
    assert prices.report["columns"]["code"] == FILE_NAME
    equal_to = small.with_columns(pl.col("code").replace(codes))
    equal_to.write_parquet(tmp_path.with_suffix(".parquet"))
    equal(prices, read(tmp_path.with_suffix(".parquet")))


def test_files_of_all_formats_and_types_are_one_table(small, tmp_path):
    whole = tmp_path / "whole.parquet"
    small.write_parquet(whole)
    folder = tmp_path / "mixed"
    folder.mkdir()
    part = [small.filter(pl.col("date").dt.day() % 5 == k) for k in range(5)]
    part[0].with_columns(pl.col("volume").cast(pl.Int64)).write_parquet(folder / "0.parquet")
    part[1].rename(str.upper).write_csv(folder / "1.csv")
    part[2].with_columns(
        pl.col("code").cast(pl.Categorical), pl.col("date").cast(pl.Datetime("ns", "Asia/Tokyo"))
    ).write_ipc(folder / "2.feather")
    part[3].with_columns(pl.col("date").dt.strftime("%Y%m%d").cast(pl.Int32), note=pl.lit(1)).drop(
        "sector"
    ).write_parquet(folder / "3.parquet")
    part[4].with_columns(pl.col("volume").map_elements("{:,.1f}".format, pl.String)).write_parquet(
        folder / "4.parquet"
    )
    mixed = read(folder)
    equal(mixed, read(whole))
    assert mixed.report["columns"]["date"] == "date / DATE"
    assert mixed.report["unused"] == ["note"]
    unknown = np.isin(mixed.dates[mixed.day_R], part[3]["date"].to_numpy().astype("datetime64[D]"))
    np.testing.assert_array_equal(mixed.sector_R < 0, unknown)


def test_codes_as_numbers_and_texts_are_one_stock_each(small, tmp_path):
    number = pl.col("code").str.slice(1)
    half = pl.col("date") < dt.date(2019, 1, 14)
    for name, dtype, rows in (("a", pl.Int64, half), ("b", pl.Float64, ~half)):
        part = small.filter(rows).with_columns(code=number.cast(dtype))
        part.write_parquet(tmp_path / f"{name}.parquet")
    assert read(tmp_path).codes == ("0", "2", "3")


@pytest.mark.parametrize("sectors", [[33, 50], [33.0, 50.0], ["33", "50"], ["33.0", "50.0"]])
def test_sectors_as_numbers_and_texts_are_one_sector_each(small, tmp_path, sectors):
    half = pl.col("date") < dt.date(2019, 1, 14)
    for name, rows, values in (("a", half, ["33", "50"]), ("b", ~half, sectors)):
        part = small.filter(rows)
        names = [values[code != "S0"] for code in part["code"]]
        part.with_columns(sector=pl.Series(names)).write_parquet(tmp_path / f"{name}.parquet")
    prices = read(tmp_path)
    assert prices.sector_names == ("33", "50")
    np.testing.assert_array_equal(prices.sector_R, np.repeat([0, 1], [20, 40]))


def test_a_sector_that_is_unknown_in_any_writing_is_none(small, tmp_path):
    words = [None, "", "nan", "None", "<NA>"]
    names = pl.Series([words[i % 5] if i % 2 else "Banks" for i in range(len(small))])
    small.with_columns(sector=names).write_parquet(tmp_path / "t.parquet")
    prices = read(tmp_path / "t.parquet")
    assert prices.sector_names == ("Banks",)
    assert (prices.sector_R < 0).sum() == len(small) // 2


@pytest.mark.parametrize("column", ["date", "code", "close", "volume", "adj_close"])
def test_a_needed_column_that_one_file_lacks_names_the_file(small, tmp_path, column):
    both = small.with_columns(adj_close=pl.col("close"))
    both[::2].write_parquet(tmp_path / "a.parquet")
    both[1::2].drop(column).write_parquet(tmp_path / "b.parquet")
    text = message(tmp_path)
    assert text.startswith(f"{tmp_path / 'b.parquet'}: no column {column!r}")
    assert f"data.columns.{column}" in text


def test_an_unreadable_file_among_good_ones_is_an_error(small, tmp_path):
    small.write_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"")
    assert "b.parquet: cannot be read as Parquet" in message(tmp_path)


def test_a_path_is_never_a_pattern(small, tmp_path):
    small.write_parquet(tmp_path / "px[1].parquet")
    small.with_columns(code=pl.lit("X") + pl.col("code")).write_parquet(tmp_path / "px1.parquet")
    assert read(tmp_path / "px[1].parquet").codes == ("S0", "S2", "S3")
    assert "px*.parquet: no such file" in message(tmp_path / "px*.parquet")


def test_what_is_said_of_columns_and_dates_is_followed(small, tmp_path):
    given = small.rename({"close": "px", "code": "who"}).with_columns(
        pl.col("date").dt.strftime("%d.%m.%y x")
    )
    given.write_csv(tmp_path / "t.csv")
    said = {"columns": {"close": "px", "code": "who"}, "date_format": "%d.%m.%y x"}
    prices = read(tmp_path / "t.csv", **said)
    assert prices.codes == ("S0", "S2", "S3")
    assert prices.dates[0] == np.datetime64("2019-01-01")
    assert "no column 'close'" in message(tmp_path / "t.csv", columns={"code": "who"})


@pytest.mark.parametrize("name", ["__index_level_0__", "Unnamed: 0", ""])
def test_an_index_of_dates_is_the_date_and_one_of_numbers_is_none(small, tmp_path, name):
    small.rename({"date": name or "x"}).write_parquet(tmp_path / "t.parquet")
    if not name:
        small.rename({"date": ""}).write_csv(tmp_path / "t.parquet".replace("parquet", "csv"))
    path = tmp_path / ("t.parquet" if name else "t.csv")
    (source,) = find_sources(path, {}, KEYS, ())
    assert taken([source]) == {"code": "code", "date": name}
    numbered = small.drop("date").with_row_index(name or "level_0")
    numbered.write_parquet(tmp_path / "n.parquet")
    with pytest.raises(DataError, match="no column 'date'"):
        find_sources(tmp_path / "n.parquet", {}, KEYS, ())


def test_adjusted_prices_alone_are_prices(small, tmp_path):
    names = {n: f"adj{n.title()}" for n in ("open", "high", "low", "close", "volume")}
    small.rename(names).write_parquet(tmp_path / "t.parquet")
    small.write_parquet(tmp_path / "u.parquet")
    prices = read(tmp_path / "t.parquet")
    equal(prices, read(tmp_path / "u.parquet"))
    assert prices.report["columns"]["close"] == "adjClose"
    raw_close = small.rename({k: v for k, v in names.items() if k != "volume"})
    raw_close.with_columns(close=pl.lit(7.0)).write_parquet(tmp_path / "t.parquet")
    equal(read(tmp_path / "t.parquet"), prices)


def test_raw_prices_in_one_file_and_adjusted_ones_in_another_are_refused(small, tmp_path):
    small[::2].write_parquet(tmp_path / "a.parquet")
    names = {n: f"adj{n.title()}" for n in ("open", "high", "low", "close")}
    small[1::2].rename(names).write_parquet(tmp_path / "b.parquet")
    assert "b.parquet: no column 'open'" in message(tmp_path)


@pytest.mark.parametrize(
    "dtype", [pl.Float32, pl.Int64, pl.UInt16, pl.Decimal(12, 2), pl.Categorical, pl.String]
)
def test_numbers_of_any_type_are_numbers(small, tmp_path, dtype):
    volume = pl.col("volume").round().clip(0, 60_000)
    small.with_columns(volume=volume).write_parquet(tmp_path / "t.parquet")
    typed = volume.cast(pl.String).cast(dtype) if dtype == pl.Categorical else volume.cast(dtype)
    small.with_columns(volume=typed).write_parquet(tmp_path / "u.parquet")
    equal(read(tmp_path / "u.parquet"), read(tmp_path / "t.parquet"))


def test_words_among_numbers_are_refused_by_column_and_file(small, tmp_path):
    small[::2].write_parquet(tmp_path / "a.parquet")
    close = pl.col("close").cast(pl.String)
    wrong = pl.when(pl.col("code") == "S2").then(pl.lit("abc")).otherwise(close)
    small[1::2].with_columns(close=wrong).write_parquet(tmp_path / "b.parquet")
    assert (
        "b.parquet: column 'close' holds 10 text(s) that are no numbers, such as 'abc'"
        in message(tmp_path)
    )
    small.with_columns(close=pl.col("date")).write_parquet(tmp_path / "a.parquet")
    assert "a.parquet: column 'close' is date32[day]; expected numbers" in message(
        tmp_path / "a.parquet"
    )


def test_a_meaning_that_prices_have_not_is_refused_rather_than_passed_over(small, tmp_path):
    small.with_columns(member=pl.lit(True)).write_parquet(tmp_path / "t.parquet")
    said = message(tmp_path / "t.parquet", columns={"alive": "member"})
    assert "data.columns.alive is not read from such a table" in said
    assert "data.features.universe_column" in said
