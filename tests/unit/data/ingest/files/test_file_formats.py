"""The same table in every format; what cannot be read is named."""

import gzip

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atft_hpo.data.ingest.files.file_formats import opened
from atft_hpo.errors import DataError

TABLE = pa.table(
    {
        "date": ["2020-01-06", "2020-01-07", None],
        "code": ["0050", "130A", "NA"],
        "close.1": [1.5, None, 3.0],
    }
)
AS_TEXT = [
    {"date": "2020-01-06", "code": "0050", "close.1": "1.5"},
    {"date": "2020-01-07", "code": "130A", "close.1": None},
    {"date": None, "code": "NA", "close.1": "3.0"},
]
LINES = "date,code,close.1\n2020-01-06,0050,1.5\n2020-01-07,130A,\n,NA,3.0\n"


def rows(path, columns=None):
    with opened(path) as file:
        columns = columns or file.schema.names
        return [row for batch in file.batches(columns) for row in batch.to_pylist()]


@pytest.fixture
def write(tmp_path):
    def write(kind):
        path = tmp_path / f"t.{kind}"
        if kind == "parquet":
            pq.write_table(TABLE, path)
        elif kind == "stream":
            with pa.ipc.new_stream(path, TABLE.schema) as writer:
                writer.write_table(TABLE)
        else:
            pl.from_arrow(TABLE).write_ipc(path, compression="zstd")
        return path

    return write


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream"])
def test_typed_formats_are_known_by_their_content(write, kind):
    path = write(kind)
    assert rows(path) == TABLE.to_pylist()
    other = path.rename(path.with_suffix(".csv"))
    assert rows(other) == TABLE.to_pylist()
    assert rows(other, ["close.1", "date"]) == TABLE.select(["close.1", "date"]).to_pylist()


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_is_text_with_any_usual_delimiter(tmp_path, mark, first, end):
    text = first + LINES.replace(",", mark).replace("\n", end)
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert rows(tmp_path / "t.csv") == AS_TEXT
    assert rows(tmp_path / "t.csv", ["code"]) == [{"code": row["code"]} for row in AS_TEXT]


def test_a_compressed_csv_is_known_by_its_content(tmp_path):
    (tmp_path / "t.csv").write_bytes(gzip.compress(LINES.encode()))
    assert rows(tmp_path / "t.csv") == AS_TEXT
    pa.CompressedOutputStream(str(tmp_path / "t.csv.zst"), "zstd").write(LINES.encode())


def test_quoted_texts_may_hold_the_delimiter(tmp_path):
    (tmp_path / "t.csv").write_text('date,volume\n2020-01-06,"1,140"\n"2020-01-07","2"\n')
    assert [row["volume"] for row in rows(tmp_path / "t.csv")] == ["1,140", "2"]


def test_batches_are_small_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("atft_hpo.data.ingest.files.file_formats.BATCH_ROWS", 7)
    frame = pl.DataFrame({"x": range(50)})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=20)
    frame.write_ipc(tmp_path / "t.arrow")
    frame.write_csv(tmp_path / "t.csv")
    for name in ("t.parquet", "t.arrow", "t.csv"):
        with opened(tmp_path / name) as file:
            batches = list(file.batches(["x"]))
        assert max(len(batch) for batch in batches) <= 7
        assert [int(x.as_py()) for batch in batches for x in batch.column(0)] == list(range(50))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"no Parquet", "cannot be read as Parquet"),
        ("t.parquet", b"PAR1 not really", "cannot be read as Parquet"),
        ("t.feather", b"no Feather", "cannot be read as Feather or Arrow"),
        ("t.csv", b"", "cannot be read as CSV .it is empty"),
        ("t.csv", b"a,b\n\0\1\2", "its bytes are no text"),
        ("t.csv", "a,b\nä,2\n".encode("latin-1"), "cannot be read as CSV"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "cannot be read as CSV"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as CSV .*Expected 2 columns, got 3"),
        ("t.csv.gz", gzip.compress(LINES.encode() * 99, mtime=0)[:60], "cannot be read as CSV"),
        ("t.csv", b"a,b,a\n1,2,3\n", "two columns have the name 'a'"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_file_s_name(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        rows(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named(tmp_path, write):
    for kind in ("parquet", "feather"):
        content = write(kind).read_bytes()
        (tmp_path / f"cut.{kind}").write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=f"cut.{kind}: cannot be read as"):
            rows(tmp_path / f"cut.{kind}")


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream"])
def test_texts_that_are_none_are_told_with_the_file_s_name(write, kind):
    path = write(kind)
    content = path.read_bytes()
    assert b"130A" in content
    path.write_bytes(content.replace(b"130A", b"13\xff\xfe"))
    with pytest.raises(DataError, match=rf"t\.{kind}: cannot be read as .*(UTF|utf)"):
        rows(path)
