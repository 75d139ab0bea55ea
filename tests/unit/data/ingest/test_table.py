"""Feature tables: which columns are features, in every format; what is left out is named."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.table import open_table
from atft_hpo.data.store.pack import pack_table
from atft_hpo.errors import DataError

ONE_DAY = DataConfig(source="features", horizons_days=(1,))
FEATURES = ("returns__1d", "momentum__10d", "ranks__volume", "calendar__weekday", "noise")


@pytest.fixture
def opened(tmp_path):
    def opened(frame, **config):
        frame.write_parquet(tmp_path / "t.parquet")
        told = []
        changed = ONE_DAY.model_copy(update=config)
        return open_table(tmp_path / "t.parquet", changed, tmp_path / "copies", told.append), told

    return opened


@pytest.fixture
def packed(tmp_path):
    def packed(path, **config):
        changed = ONE_DAY.model_copy(update=config)
        out = tmp_path / f"out-{path.name}"
        panel = pack_table(path, out, changed)
        assert not list(tmp_path.glob(".*"))
        return panel

    return packed


def same(a, b):
    assert a.feature_names == b.feature_names
    assert a.manifest.dates == b.manifest.dates
    assert a.manifest.codes == b.manifest.codes
    assert a.manifest.sectors == b.manifest.sectors
    np.testing.assert_array_equal(a.features, b.features)
    np.testing.assert_array_equal(a.targets, b.targets)


@pytest.mark.parametrize("name", ["t.csv", "t.feather", "t.csv.gz"])
def test_a_table_in_any_format_packs_to_the_same_panel(market, packed, tmp_path, name):
    market.write_parquet(tmp_path / "t.parquet")
    if name == "t.feather":
        market.write_ipc(tmp_path / name)
    else:
        market.rename({"date": "Date", "code": "Ticker"}).write_csv(
            tmp_path / name, compression="gzip" if name.endswith("gz") else "uncompressed"
        )
    same(packed(tmp_path / name), packed(tmp_path / "t.parquet"))


@pytest.mark.parametrize("batches", [1, 3])
def test_an_arrow_file_of_one_batch_is_read_by_columns_and_others_are_copied(
    market, packed, tmp_path, batches
):
    whole = market.with_columns(noise=pl.when(pl.col("noise") < 0).then(None).otherwise("noise"))
    whole.write_parquet(tmp_path / "t.parquet")
    table = whole.to_arrow()
    with pa.ipc.new_file(tmp_path / "t.arrow", table.schema) as file:
        file.write_table(table.combine_chunks(), max_chunksize=-(-len(table) // batches))
    source = open_table(tmp_path / "t.arrow", ONE_DAY, tmp_path / "copies").sources[0]
    assert (source.path == tmp_path / "t.arrow") == (batches == 1)
    same(packed(tmp_path / "t.arrow"), packed(tmp_path / "t.parquet"))


def test_files_of_several_formats_and_one_per_stock_pack_to_the_same_panel(
    market, packed, tmp_path
):
    market.write_parquet(tmp_path / "t.parquet")
    folder = tmp_path / "stocks"
    folder.mkdir()
    for number, ((code,), part) in enumerate(market.group_by("code")):
        part = part.drop("code")
        if number % 2:
            part.write_csv(folder / f"{code}.csv")
        else:
            part.write_parquet(folder / f"{code}.parquet")
    same(packed(folder), packed(tmp_path / "t.parquet"))


def test_indices_keys_and_texts_are_no_features_and_named(market, opened):
    extra = market.with_row_index("__index_level_0__").with_columns(
        pl.int_range(1, pl.len() + 1).alias("n"),
        pl.int_range(pl.len()).alias("Unnamed: 0"),
        note=pl.lit("x"),
        count=pl.int_range(pl.len()).reverse(),
        PERMNO=pl.lit(5.0),
    )
    table, told = opened(extra, columns={"code": "code"})
    assert table.features == (*FEATURES, "count")
    left = {"__index_level_0__", "n", "Unnamed: 0", "note", "PERMNO"}
    assert set(table.ignored) == set(table.report["unused"]) == left
    (line,) = told
    assert "date = date, code = code" in line
    assert all(name in line for name in left)


def test_numbers_as_text_are_features_read_in_one_convention(market, packed, tmp_path):
    market.write_parquet(tmp_path / "t.parquet")
    written = pl.col("noise") * 1000
    texts = written.map_elements("{:,.3f}".format, pl.String)
    market.with_columns(noise=texts).write_parquet(tmp_path / "text.parquet")
    market.with_columns(noise=written.round(3)).write_parquet(tmp_path / "t.parquet")
    same(packed(tmp_path / "text.parquet"), packed(tmp_path / "t.parquet"))


def test_texts_that_are_mostly_numbers_are_refused_by_column(market, opened):
    odd = pl.when(pl.col("code") == "S004").then(pl.lit("1.2M")).otherwise(pl.lit("7.5"))
    with pytest.raises(DataError, match=r"t\.parquet: column 'x' holds .* such as '1\.2M'"):
        opened(market.with_columns(x=odd + pl.lit("")).with_columns(
            x=pl.when(pl.col("x") == "1.2M").then("x").otherwise(pl.col("noise").cast(pl.String))
        ))  # fmt: skip


def test_labels_come_from_the_adjusted_close_and_the_raw_one_is_no_feature(
    market, packed, tmp_path
):
    market.write_parquet(tmp_path / "t.parquet")
    raw = market.rename({"close": "Adj Close"}).with_columns(close=pl.lit(7.0))
    raw.write_parquet(tmp_path / "raw.parquet")
    panel = packed(tmp_path / "raw.parquet")
    same(panel, packed(tmp_path / "t.parquet"))
    assert panel.manifest.report["input"]["columns"]["close"] == "Adj Close"
    assert panel.manifest.report["input"]["unused"] == ["close"]


def test_a_column_of_another_spelling_may_be_a_feature(market, opened):
    extra = market.with_columns(price=pl.col("noise"), amount=pl.col("noise") * 2)
    table, _ = opened(extra)
    assert table.features == (*FEATURES, "price", "amount")
    assert table.optional == {"sector", "close"}


@pytest.mark.parametrize("column", ["noise", "close", "target_1d", "alive"])
def test_a_column_that_one_file_lacks_names_the_file(market, tmp_path, column):
    whole = market.with_columns(target_1d=pl.lit(0.1), alive=pl.lit(True))
    whole[::2].write_parquet(tmp_path / "a.parquet")
    whole[1::2].drop(column).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=rf"b\.parquet: no column '{column}'"):
        open_table(tmp_path, ONE_DAY, tmp_path / "copies")


def test_sector_and_money_may_be_unknown_in_one_file(market, packed, tmp_path):
    folder = tmp_path / "t"
    folder.mkdir()
    whole = market.with_columns(traded_value=pl.lit(5.0), note=pl.lit("x"))
    late = whole["date"] > whole["date"].median()
    whole.filter(~late).write_parquet(folder / "a.parquet")
    whole.filter(late).drop("sector", "traded_value", "note").write_parquet(folder / "b.parquet")
    panel = packed(folder)
    assert panel.manifest.rows == len(market)
    assert np.isnan(panel.traded_value).sum() > 0.4 * panel.traded_value.size


def test_dates_in_text_are_read_as_in_prices(market, packed, tmp_path):
    market.write_parquet(tmp_path / "t.parquet")
    american = market.with_columns(pl.col("date").dt.strftime("%m/%d/%Y"))
    american.write_csv(tmp_path / "a.csv")
    same(packed(tmp_path / "a.csv"), packed(tmp_path / "t.parquet"))
