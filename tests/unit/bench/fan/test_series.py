"""What becomes of a file of numbers, and what a bad one is told."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from atft_hpo.errors import DataError
from bench.fan.series import read_series


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def _write(text: str) -> Path:
        path = tmp_path / "ETTh1.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def test_reads_numbers_and_leaves_the_date_out(write: Callable[[str], Path]) -> None:
    series = read_series(write("date,a,b\n2020-01-01,1,2.5\n2020-01-02,2,3.5\n"))
    assert (series.name, series.channels) == ("ETTh1", ("a", "b"))
    assert series.values_NC.tolist() == [[1.0, 2.5], [2.0, 3.5]]


def test_first_column_of_numbers_is_a_channel(write: Callable[[str], Path]) -> None:
    assert read_series(write("a\n1\n2\n")).values_NC.tolist() == [[1.0], [2.0]]


def test_file_without_header_keeps_its_first_line(write: Callable[[str], Path]) -> None:
    series = read_series(write("0.5,0.5,3\n2,1,4\n"))
    assert series.values_NC.tolist() == [[0.5, 0.5, 3.0], [2.0, 1.0, 4.0]]


def test_reads_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"when": ["a", "b"], "v": [1, 2]}).write_parquet(path)
    assert read_series(path).values_NC.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,a\nx,1\ny,\nz,NaN\n", "column 'a' has 2 missing values, the first in row 2"),
        ("a,b\n1,2\n2,oops\n", "column 'b' is not numeric .'oops' in row 2"),
        ("a,b\n1,2\n2,inf\n", "column 'b' has 1 infinite values"),
        ("a,b\n1,7\n2,7\n", "column 'b' is constant .7 in all rows"),
        ("date\nx\ny\n", "no numeric column"),
        ("a,b\n", "no numeric column with values"),
        ("", "cannot be read"),
    ],
)
def test_bad_files_say_column_and_count(
    write: Callable[[str], Path], text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_series(write(text))


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read"):
        read_series(tmp_path / "nowhere.csv")
