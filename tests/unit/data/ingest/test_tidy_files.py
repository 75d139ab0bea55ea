import polars as pl
import pytest

from atft_hpo.data.ingest.tidy_files import (
    common_schema,
    first_line,
    opened,
    parquet_files,
    require_column,
    table_files,
)
from atft_hpo.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Two files at different depths, and one that is no Parquet file."""
    (tmp_path / "2019").mkdir()
    for name in ("b.parquet", "2019/a.parquet"):
        pl.DataFrame({"date": [1], "code": ["x"]}).write_parquet(tmp_path / name)
    (tmp_path / "notes.txt").write_text("mine")
    return tmp_path


def test_the_files_of_a_directory_are_those_at_any_depth_in_one_order(folder):
    expected = [folder / "2019" / "a.parquet", folder / "b.parquet"]
    assert parquet_files(folder) == expected
    assert table_files(folder) == tuple(expected)


def test_folders_behind_links_count_once_and_folders_named_like_files_for_their_content(tmp_path):
    for name in ("table/part.parquet/0.parquet", "elsewhere/a.parquet"):
        (tmp_path / name).parent.mkdir(parents=True)
        pl.DataFrame({"date": [1], "code": ["x"]}).write_parquet(tmp_path / name)
    table = tmp_path / "table"
    (table / "link").symlink_to(tmp_path / "elsewhere")
    (table / "again").symlink_to(table)
    expected = [table / "link" / "a.parquet", table / "part.parquet" / "0.parquet"]
    assert parquet_files(table) == expected


def test_a_file_is_a_table_of_one_whatever_its_name(folder):
    assert parquet_files(folder / "notes.txt") == [folder / "notes.txt"]


def test_an_absent_path_is_listed_but_is_no_table(folder):
    assert parquet_files(folder / "absent") == [folder / "absent"]
    with pytest.raises(DataError, match="absent: no such file; give"):
        table_files(folder / "absent")


def test_the_common_schema_is_that_of_the_first_file_in_its_order(folder):
    other = pl.DataFrame({"code": ["x"], "date": [1]})
    other.write_parquet(folder / "c.parquet")
    assert common_schema(table_files(folder)).names == ["date", "code"]


def test_what_is_no_parquet_file_is_named_when_it_is_opened(folder):
    with (
        pytest.raises(DataError, match=r"notes\.txt: cannot be read as Parquet"),
        opened(folder / "notes.txt"),
    ):
        pass


def test_a_missing_column_is_named_with_what_would_do_and_the_nearest(folder):
    require_column("date", folder, ["date", "code"])
    with pytest.raises(DataError, match=r"no column 'dat' or a clock; did you mean 'date'"):
        require_column("dat", folder, ["date", "code"], " or a clock")


@pytest.mark.parametrize(("error", "text"), [(OSError("one\ntwo"), "one"), (OSError(), "OSError")])
def test_a_library_error_is_told_in_one_line(error, text):
    assert first_line(error) == text
