"""Two-level frames as pandas writes them; literal files, since pandas is no dependency."""

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atft_hpo.data.ingest.files.file_formats import opened
from atft_hpo.data.ingest.files.wide_frames import header_rows, melt_of

DAYS = [dt.date(2020, 1, 6), dt.date(2020, 1, 7)]
EXPECTED = {
    ("2020-01-06", "AAPL"): (1.0, 10.0),
    ("2020-01-07", "AAPL"): (2.0, 20.0),
    ("2020-01-07", "LOW"): (4.0, 40.0),
}
"""LOW has no row on the first day."""
CELLS = {("Close", "AAPL"): [1.0, 2.0], ("Close", "LOW"): [None, 4.0],
         ("Volume", "AAPL"): [10.0, 20.0], ("Volume", "LOW"): [None, 40.0]}  # fmt: skip


def read(path):
    with opened(path) as file:
        names = file.schema.names
        assert file.is_melted
        found = [row for batch in file.batches(names) for row in batch.to_pylist()]
    return {
        (str(row[names[0]])[:10], row["Ticker"]): (float(row["Close"]), float(row["Volume"]))
        for row in found
    }


@pytest.mark.parametrize("price_first", [True, False])
@pytest.mark.parametrize("index", ["Date", "__index_level_0__", "('Date', '')"])
def test_names_of_pairs_in_parquet_are_melted(tmp_path, price_first, index):
    named = {str(pair if price_first else pair[::-1]): x for pair, x in CELLS.items()}
    pq.write_table(pa.table({**named, index: DAYS}), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == EXPECTED


HEADERS = {
    "price first": ["Price,Close,Close,Volume,Volume", "Ticker,AAPL,LOW,AAPL,LOW", "Date,,,,"],
    "ticker first": ["Ticker,AAPL,LOW,AAPL,LOW", "Price,Close,Close,Volume,Volume", "Date,,,,"],
    "older": [",Close,Close,Volume,Volume", ",AAPL,LOW,AAPL,LOW", "Date,,,,"],
    "no names": [",Close,Close,Volume,Volume", ",AAPL,LOW,AAPL,LOW"],
    "index as a column": ["Date,Close,Close,Volume,Volume", ",AAPL,LOW,AAPL,LOW"],
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("time", ["", " 00:00:00-05:00"])
def test_two_or_three_rows_of_headers_in_a_csv_are_melted(tmp_path, header, time):
    rows = [f"2020-01-06{time},1.0,,10.0,", f"2020-01-07{time},2.0,4.0,20.0,40.0"]
    (tmp_path / "t.csv").write_text("\n".join([*HEADERS[header], *rows]))
    assert read(tmp_path / "t.csv") == EXPECTED


def test_one_ticker_in_a_file_is_melted_too():
    rows = [["Price", "Close", "Volume"], ["Ticker", "AAPL", "AAPL"], ["Date", "", ""]]
    assert header_rows(rows) == (3, ["Date", "('Close', 'AAPL')", "('Volume', 'AAPL')"])


@pytest.mark.parametrize(
    "rows",
    [
        ["date,code,open,close,volume", "2020-01-06,A,1,2,3", "2020-01-07,A,1,2,3"],
        ["code,date,close,volume", "AAPL,2020-01-06,2,3", "AAPL,2020-01-07,2,3"],
        ["open,high,low,close,date,code", "1,2,3,4,2020-01-06,AAPL", "1,2,3,4,2020-01-07,AAPL"],
        [",date,code,close", "0,2020-01-06,A,5", "1,2020-01-07,A,5"],
        ["date,close,volume", ",,", "2020-01-07,2,3"],
        ["date,close"],
    ],
)
def test_a_tidy_csv_has_one_row_of_headers(rows):
    cells = [row.split(",") for row in rows]
    assert header_rows(cells) == (1, cells[0])


@pytest.mark.parametrize(
    "names", [["date", "code", "close"], ["('a', 'b')", "date"], ["(x)", "('Close', 'A', 'B')"]]
)
def test_other_names_are_no_two_level_frame(names):
    assert melt_of(pa.schema([(name, pa.float64()) for name in names])) is None


def test_prices_that_are_whole_numbers_for_some_tickers_are_one_column(tmp_path):
    table = pa.table({"Date": DAYS, "('Close', 'A')": [1, 2], "('Close', 'B')": [1.5, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    with opened(tmp_path / "t.parquet") as file:
        (batch,) = file.batches(["Close", "Ticker"])
    assert batch.to_pylist() == [
        {"Close": 1.0, "Ticker": "A"}, {"Close": 2.0, "Ticker": "A"}, {"Close": 1.5, "Ticker": "B"},
    ]  # fmt: skip
