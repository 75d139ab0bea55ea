"""The parser of dates in texts, against `datetime` on random dates in every form."""

import datetime as dt
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atft_hpo.data.ingest.values.date_texts import UnreadableDateError, parse_dates

EPOCH = dt.date(1970, 1, 1)
dates = st.dates(dt.date(1900, 1, 1), dt.date(2200, 12, 31))
times = st.sampled_from(
    ["", "T00:00:00", " 00:00", " 15:30:59.123456", "T23:59:59+09:00", " 00:00:00-05:00", "T15:00Z"]
)
FORMS = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y年%m月%d日", "%d-%b-%Y", "%d %B %Y",
         "%d%b%Y", "%b %d, %Y", "%B %d %Y", "%a, %d %b %Y"]  # fmt: skip


def number(day: dt.date) -> int:
    return (day - EPOCH).days


def read(*texts: str, date_format: str | None = None) -> list[dt.date]:
    return [EPOCH + dt.timedelta(day) for day in parse_dates(texts, date_format)[0]]


def why(*texts: str, date_format: str | None = None) -> str:
    with pytest.raises(UnreadableDateError) as caught:
        parse_dates(texts, date_format)
    assert caught.value.text in texts
    return str(caught.value)


@given(st.lists(dates, min_size=1), st.sampled_from(FORMS), times)
def test_every_date_in_a_form_that_tells_is_itself(days, form, time):
    texts = [day.strftime(form).replace("Sept", "Sep") + time for day in days]
    assert parse_dates(texts, None) == ([number(day) for day in days], [])


@given(dates)
def test_blanks_around_leading_zeros_and_a_point_zero_do_not_matter(day):
    texts = [f"{day.year}-{day.month}-{day.day}", f" {day} ", f"{day:%Y%m%d}.0"]
    assert read(*texts) == [day] * 3


@given(st.lists(dates, min_size=1, max_size=40), st.sampled_from("/-."), st.booleans(), times)
def test_a_column_has_one_order_of_day_and_month_or_is_refused(days, mark, month_first, time):
    form = f"%m{mark}%d{mark}%Y" if month_first else f"%d{mark}%m{mark}%Y"
    texts = [day.strftime(form) + time for day in days]
    order = "month_first" if month_first else "day_first"
    swapped = [t for t in days if t.day > 12]
    same = all(day.day == day.month for day in days)
    if swapped or same:
        found, said = parse_dates(texts, None)
        assert found == [number(day) for day in days]
        assert order.replace("_", " ") in said[0] or same
    else:
        text = why(*texts)
        assert "data.date_format" in text
        assert "'month_first' or 'day_first'" in text
    assert read(*texts, date_format=order) == days


@given(
    st.lists(st.dates(dt.date(1969, 1, 1), dt.date(2068, 12, 31)), min_size=1),
    st.sampled_from(["%d.%m.%y x", "%Y-%j", "on %B %d in %Y"]),
)
def test_a_stated_format_is_followed(days, form):
    assert read(*[day.strftime(form) for day in days], date_format=form) == days


@given(st.text(max_size=12))
def test_no_text_ends_in_anything_but_a_date_or_a_reason(text):
    with suppress(UnreadableDateError):
        (day,), _ = parse_dates([text], None)
        assert 1900 <= (EPOCH + dt.timedelta(day)).year <= 2200
        assert re.search(r"\d", text)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["01/14/19", "02/03/19"], [dt.date(2019, 1, 14), dt.date(2019, 2, 3)]),
        (["31.12.99"], [dt.date(1999, 12, 31)]),
        (["1/14/2019", "2/3/2019"], [dt.date(2019, 1, 14), dt.date(2019, 2, 3)]),
        (["2019-01-07", "14/01/2019"], [dt.date(2019, 1, 7), dt.date(2019, 1, 14)]),
        (["20190107T000000", "2019-01-07 00:00:00+09:00[Asia/Tokyo]"], [dt.date(2019, 1, 7)] * 2),
        (["01/14/2019 4:00 PM"], [dt.date(2019, 1, 14)]),
    ],
)
def test_known_texts(texts, expected):
    assert read(*texts) == expected


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["soon"], "its form is not known"),
        (["2019-02-30"], "day is out of range|day .* must be in range"),
        (["2019-13-01"], "month must be in"),
        (["1899-12-31"], "impossible year"),
        (["2201-01-01"], "impossible year"),
        (["43471"], "its form is not known"),
        (["1546819200"], "its form is not known"),
        (["01/14/2019", "14/01/2019"], "no order of day and month fits"),
        (["01/02/2019", "13/13/2019"], "'13/13/2019': no order"),
        (["01/02/03"], "data.date_format"),
    ],
)
def test_what_is_no_date_for_certain_is_refused(texts, reason):
    assert re.search(reason, why(*texts))


def test_a_stated_order_does_not_bend():
    assert "no order of day and month fits" in why("01/14/2019", date_format="day_first")


@pytest.mark.parametrize(
    ("unit", "factor"), [("unix_s", 1), ("unix_ms", 10**3), ("unix_us", 10**6), ("unix_ns", 10**9)]
)
def test_counts_since_1970_are_read_where_said(unit, factor):
    moment = int(dt.datetime(2019, 1, 7, 15, tzinfo=dt.UTC).timestamp()) * factor
    assert read(str(moment), date_format=unit) == [dt.date(2019, 1, 7)]
    assert "its form is not known" in why(str(moment))


def test_where_both_orders_say_the_same_there_is_nothing_to_refuse():
    assert read("01/01/2019", "02/02/2019") == [dt.date(2019, 1, 1), dt.date(2019, 2, 2)]
