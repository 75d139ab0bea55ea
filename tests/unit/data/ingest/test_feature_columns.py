from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.feature_columns import FeatureColumns
from atft_hpo.data.ingest.table import open_table, read_rows

ONE_DAY = DataConfig(source="features", horizons_days=(1,))


@pytest.mark.parametrize("files", [1, 5])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_value_stands_where_row_r_says(market, tmp_path, monkeypatch, files, threads):
    monkeypatch.setattr("atft_hpo.data.ingest.feature_columns.BATCH_ROWS", 400)
    monkeypatch.setattr("atft_hpo.data.ingest.feature_columns._COLUMNS_AT_ONCE", 2)
    shuffled = market.sample(fraction=1.0, shuffle=True, seed=4)
    for k, part in enumerate(np.array_split(np.arange(len(market)), files)):
        shuffled[part].write_parquet(tmp_path / f"{k}.parquet", row_group_size=150)
    table = open_table(tmp_path, ONE_DAY, tmp_path / "copies")
    rows = read_rows(table, ONE_DAY)
    names = ["noise", "ranks__volume", "calendar__weekday"]
    out = np.empty((3, len(market) + 1), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        columns = FeatureColumns(table, rows, pool, threads)
        columns.read(names, out)
    expected = shuffled[columns.row_R]
    for name, found in zip(names, out, strict=True):
        values = expected[name].cast(pl.Float32).fill_null(np.nan).to_numpy()
        np.testing.assert_array_equal(found, [*values, np.nan])


def test_rows_of_a_batch_are_sorted_by_day_and_stock(market, tmp_path, monkeypatch):
    monkeypatch.setattr("atft_hpo.data.ingest.feature_columns.BATCH_ROWS", 400)
    market.sort("code", "date").write_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet", ONE_DAY, tmp_path / "copies")
    rows = read_rows(table, ONE_DAY)
    with ThreadPoolExecutor(1) as pool:
        row_R = FeatureColumns(table, rows, pool, 1).row_R
    assert sorted(row_R) == list(range(len(market)))
    for start in range(0, len(row_R), 400):
        batch = row_R[start : start + 400]
        assert batch.min() == start
        cells = list(zip(rows.day_R[batch], rows.stock_R[batch], strict=True))
        assert cells == sorted(cells)
