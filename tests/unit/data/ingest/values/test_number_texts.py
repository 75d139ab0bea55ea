import math
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atft_hpo.data.ingest.values.number_texts import NumberTexts, Style, convention, parse

HERE = Path("a.csv")


def seen(*batches: list[str | None]) -> NumberTexts:
    texts = NumberTexts()
    for batch in batches:
        texts.see(pa.array(batch, pa.string()), HERE)
    return texts


def read(*values: str | None) -> list[float | None]:
    texts = seen(list(values))
    assert texts.problem() is None
    return parse(pa.array(values, pa.string()), texts.style()).to_pylist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1140", "12.5", "-3", "+5", " 7 ", "1e3"], [1140, 12.5, -3, 5, 7, 1000]),
        (["1,140", "999"], [1140, 999]),
        (["1,140.5", "3", "1140"], [1140.5, 3, 1140]),
        (["1,200,000", "1,140"], [1_200_000, 1140]),
        (["1.140,5", "7", "1.140"], [1140.5, 7, 1140]),
        (["1,14", "3"], [1.14, 3]),
        (["0,123", "1,140"], [0.123, 1.14]),
        (["1 140,5", "2\u00a0000"], [1140.5, 2000]),
        (["1.140", "2.5"], [1.14, 2.5]),
        (["5", "-", "N/A", "", "nan", None, "—"], [5, *[None] * 6]),
    ],
)
def test_a_column_is_read_in_the_one_convention_that_fits_it(values, expected):
    assert read(*values) == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["1,140", "2,250"], "'1,140', whose comma may stand before decimals or between thousands"),
        (["1,140", "1140"], "whose comma may stand"),
        (["1,14", "1.5"], "two conventions, such as '1,14' and '1.5'"),
        (["12", "1.2M"], "1 text(s) that are no numbers, such as '1.2M'"),
        (["$12"], "no numbers, such as '$12'"),
        (["1,2,3", "4"], "no numbers"),
        (["12.5.3"], "no numbers"),
    ],
)
def test_what_is_not_certain_is_refused_with_an_example(values, reason):
    file, text = seen(values).problem()
    assert file == HERE
    assert reason in text


def test_a_later_batch_decides_what_an_earlier_comma_meant():
    assert seen(["1,140"], ["1,140.5"]).style() is Style.THOUSANDS
    assert seen(["1,140"], ["1,14"]).style() is Style.DECIMAL
    assert seen(["1,140"], ["3", "999"]).style() is Style.THOUSANDS
    assert seen(["1,140"]).problem()


def test_a_column_that_does_not_tell_is_read_as_the_others_of_its_table():
    volume, close, european = seen(["64,213"]), seen(["712.5"]), seen(["712,5"])
    assert convention([volume]) is None
    assert convention([volume, close]) is Style.THOUSANDS
    assert convention([volume, european]) is Style.DECIMAL
    assert convention([volume, close, european]) is None
    assert volume.problem(Style.THOUSANDS) is None
    assert volume.style(Style.THOUSANDS) is Style.THOUSANDS
    assert seen(["1.140"]).style(Style.DECIMAL) is Style.DECIMAL


def test_how_much_of_a_column_is_numbers_is_counted():
    texts = seen(["1", "2", "x", None, "N/A", "x", "1"], ["5", "5"])
    assert (texts.values, texts.numbers) == (7, 5)


@given(st.lists(st.floats(-1e9, 1e9).map(lambda v: round(v, 2)), min_size=1))
def test_what_is_written_with_thousands_is_read_back(values):
    written = [f"{value:,.2f}" for value in values]
    assert read(*written) == pytest.approx(values, abs=0.005)
    european = [t.replace(",", " ").replace(".", ",").replace(" ", ".") for t in written]
    assert read(*european) == pytest.approx(values, abs=0.005)


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_what_python_writes_is_read_back(values):
    assert read(*map(repr, values)) == values


@given(st.lists(st.text(max_size=6), max_size=5))
def test_no_text_ends_in_anything_but_a_number_or_a_reason(values):
    texts = seen(values)
    if texts.problem() is None:
        found = parse(pa.array(values, pa.string()), texts.style()).to_pylist()
        assert all(v is None or isinstance(v, float) for v in found)
        assert sum(v is not None and not math.isnan(v) for v in found) <= texts.values
