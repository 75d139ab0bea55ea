from pathlib import Path

import pytest

from atft_hpo.data.ingest.files.table_files import (
    files_at,
    first_line,
    left_out,
    stem,
    table_files,
)
from atft_hpo.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Two tables at different depths, and files that are none."""
    (tmp_path / "2019").mkdir()
    for name in ("b.parquet", "2019/a.csv.gz", "notes.txt", ".hidden.csv", "_SUCCESS"):
        (tmp_path / name).write_text("mine")
    return tmp_path


def test_the_tables_of_a_directory_are_those_at_any_depth_in_one_order(folder):
    expected = [folder / "2019" / "a.csv.gz", folder / "b.parquet"]
    assert files_at(folder) == expected
    assert table_files(folder) == tuple(expected)
    assert left_out(folder) == [folder / "notes.txt"]


@pytest.mark.parametrize(
    "name",
    ["a.parquet", "a.PQ", "a.csv", "a.Csv", "a.csv.GZ", "a.tsv", "a.feather", "a.arrow", "a.ipc"],
)
def test_a_table_is_known_by_its_suffix_in_any_case(tmp_path, name):
    (tmp_path / name).touch()
    assert files_at(tmp_path) == [tmp_path / name]


def test_a_text_file_is_a_table_if_its_first_line_names_dates(folder):
    (folder / "aapl.us.txt").write_text("<TICKER>,<PER>,<DATE>,<CLOSE>\nAAPL.US,D,20200106,1\n")
    assert folder / "aapl.us.txt" in files_at(folder)
    assert left_out(folder) == [folder / "notes.txt"]


@pytest.mark.parametrize("name", ["a.xlsx", "a.pkl", "a.csv.zip", "a.h5"])
def test_a_table_in_a_format_that_is_not_read_is_an_error_among_good_ones(folder, name):
    (folder / name).touch()
    with pytest.raises(DataError, match=f"{name}: .* is not read; give Parquet, CSV"):
        table_files(folder)


def test_folders_behind_links_count_once_and_folders_named_like_files_for_their_content(tmp_path):
    for name in ("table/part.parquet/0.parquet", "elsewhere/a.parquet"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    table = tmp_path / "table"
    (table / "link").symlink_to(tmp_path / "elsewhere")
    (table / "again").symlink_to(table)
    expected = [table / "link" / "a.parquet", table / "part.parquet" / "0.parquet"]
    assert files_at(table) == expected


def test_a_file_is_a_table_of_one_whatever_its_name(folder):
    assert files_at(folder / "notes.txt") == [folder / "notes.txt"]
    assert left_out(folder / "notes.txt") == []


def test_an_absent_path_is_listed_but_is_no_table_and_no_more_is_an_empty_folder(folder):
    assert files_at(folder / "absent") == [folder / "absent"]
    with pytest.raises(DataError, match="absent: no such file; give a file or a directory"):
        table_files(folder / "absent")
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no table in it"):
        table_files(folder / "empty")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AAPL.csv", "AAPL"), ("AAPL.csv.gz", "AAPL"), ("BRK.B.parquet", "BRK.B"),
        ("130A.feather", "130A"), ("0050.TW.CSV", "0050.TW"), ("px[1].parquet", "px[1]"),
    ],
)  # fmt: skip
def test_a_stem_is_the_name_without_what_says_the_format(name, expected):
    assert stem(Path("/nowhere") / name) == expected


def test_the_stem_of_a_directory_is_its_whole_name(tmp_path):
    (tmp_path / "prices.v2").mkdir()
    assert stem(tmp_path / "prices.v2") == "prices.v2"


@pytest.mark.parametrize(("error", "text"), [(OSError("one\ntwo"), "one"), (OSError(), "OSError")])
def test_a_library_error_is_told_in_one_line(error, text):
    assert first_line(error) == text
