"""Columns of dates of every type, in batches and files."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atft_hpo.data.ingest.values.dates import DateColumn, looks_like_dates
from atft_hpo.errors import DataError

DAY = dt.date(2019, 1, 7)
NOON = dt.datetime(2019, 1, 7, 12)
TOKYO_MIDNIGHT = dt.datetime(2019, 1, 6, 15)
"""As UTC counts it."""


def read(*columns: pa.Array, date_format: str | None = None) -> list[dt.date]:
    found = DateColumn("date", date_format)
    for number, column in enumerate(columns):
        found.add(column, Path(f"{number}.csv"))
    return found.days().astype("datetime64[D]").tolist()


def message(*columns: pa.Array) -> str:
    with pytest.raises(DataError) as caught:
        read(*columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize(
    ("moment", "zone"),
    [
        (NOON, None),
        (TOKYO_MIDNIGHT, "Asia/Tokyo"),
        (TOKYO_MIDNIGHT, "+09:00"),
        (dt.datetime(2019, 1, 8, 4, 59), "America/New_York"),
        (dt.datetime(2019, 1, 7), "UTC"),
    ],
)
def test_a_timestamp_is_the_day_of_its_zone(unit, moment, zone):
    assert read(pa.array([moment]).cast(pa.timestamp(unit, zone))) == [DAY]


@given(
    st.lists(st.datetimes(dt.datetime(1900, 1, 2), dt.datetime(2200, 12, 30)), min_size=1),
    st.sampled_from(["Asia/Tokyo", "America/New_York", "Europe/London", "Asia/Kolkata", "UTC"]),
)
def test_local_midnights_are_their_own_days_in_every_zone(moments, zone):
    from zoneinfo import ZoneInfo

    # noon: midnight does not exist everywhere on every day
    local = [m.replace(hour=12, minute=0, second=0, microsecond=0) for m in moments]
    column = pa.array([m.replace(tzinfo=ZoneInfo(zone)) for m in local], pa.timestamp("us", zone))
    assert read(column) == [m.date() for m in local]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([DAY]),
        pa.array([DAY], pa.date64()),
        pa.array([DAY]).dictionary_encode(),
        pa.array([20190107]),
        pa.array([20190107], pa.int32()),
        pa.array([20190107.0]),
        pa.array([Decimal(20190107)]),
        pa.array(["20190107"]),
        pa.array(["2019-01-07"]),
        pa.array(["2019-01-07"], pa.large_string()),
        pa.array(["2019-01-07"], pa.string_view()),
        pa.array(["2019-01-07 00:00:00+09:00"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_a_date_of_any_type_is_itself(column):
    assert read(column) == [DAY]


def test_files_may_differ_in_types_and_the_order_follows_from_all_of_them():
    found = read(pa.array(["01/07/2019"]), pa.array([DAY]), pa.array(["01/31/2019"]))
    assert found == [DAY, DAY, dt.date(2019, 1, 31)]
    assert "0.csv: column 'date' holds '01/07/2019' (month first and day first both fit" in message(
        pa.array(["01/07/2019"]), pa.array([DAY])
    )


def test_what_had_to_be_decided_is_said():
    column = DateColumn("date", None)
    column.add(pa.array(["01/07/2019", "01/31/2019"]), Path("a"))
    column.days()
    assert column.said == ["dates such as 01/31/2019 are read month first: no other order fits"]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize(("hour", "shifted"), [(15, True), (0, False)])
def test_midnights_of_another_zone_are_noticed(hour, shifted, text):
    """Tokyo's Monday to Friday, in UTC; and days that are Sunday to Thursday in truth."""
    moments = [dt.datetime(2019, 1, 6 + i, hour) for i in range(5)]
    column = DateColumn("date", None)
    stamps = pa.array(moments, pa.timestamp("us", "UTC"))
    column.add(pa.array([f"{m.isoformat()}Z" for m in moments]) if text else stamps, Path("a"))
    assert column.days()[0] == (dt.date(2019, 1, 6) - dt.date(1970, 1, 1)).days
    assert any("in the exchange's own zone" in line for line in column.said) == shifted


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([DAY, None]), "null in 1 row"),
        (pa.array(["2019-01-07", "", "NaT"]), "null in 2 row"),
        (pa.array([20190107.0, float("nan")]), "null in 1 row"),
        (pa.array([1546819200]), "holds '1546819200'"),
        (pa.array([0, 1, 2]), "holds '0'"),
        (pa.array([np.datetime64("57276-01-01", "s")]), "of an impossible year"),
        (pa.array([dt.date(1899, 12, 31)]), "of an impossible year"),
        (pa.array([True]), "bool"),
        (pa.array([dt.time(1)]), "time"),
        (pa.array([[1]]), "list"),
    ],
)
def test_what_is_no_date_is_refused_with_file_and_value(column, text):
    found = message(pa.array([DAY]), column)
    assert found.startswith("1.csv: column 'date'")
    assert text in found


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([DAY]), True),
        (pa.array(["2019-01-07", "2019-01-08"]), True),
        (pa.array([20190107]), True),
        (pa.array([0, 1, 2]), False),
        (pa.array(["0", "1"]), False),
        (pa.array([1.5]), False),
        (pa.array(["AAPL"]), False),
        (pa.array([], pa.string()), False),
    ],
)
def test_an_index_is_one_of_dates_only_if_all_of_it_is(column, expected):
    assert looks_like_dates(column) == expected
