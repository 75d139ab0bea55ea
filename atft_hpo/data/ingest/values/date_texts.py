"""Dates written as text: which day each is, or why that is not certain.

    days, said = parse_dates(["01/14/2019", "01/15/2019"], None)

ISO 8601 with or without a time, 20190114, 2019年1月14日 and dates with a month's name tell by their
form. Where day and month are both numbers, their order must follow from all texts together, or be
given. The time of day and its zone do not matter: the day written is the day meant.
"""

import datetime as dt
import re
from collections.abc import Callable, Sequence

FIRST_YEAR, LAST_YEAR = 1900, 2200
UNIX_UNITS = {"unix_s": 1, "unix_ms": 10**3, "unix_us": 10**6, "unix_ns": 10**9}
"""Ticks per second of `data.date_format` for counts since 1970."""
ORDERS: dict[str, tuple[int, int, int]] = {
    "month_first": (2, 0, 1),
    "day_first": (2, 1, 0),
    "year_first": (0, 1, 2),
}
"""Places of year, month and day among three numbers."""


_TIME = (
    r"(?:[T\s]\s*\d{1,2}:?\d{2}(?::?\d{2}(?:[.,]\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?"
    r"\s*(?:Z|[+-]\d{2}(?::?\d{2})?|[A-Za-z_]+(?:/[A-Za-z_]+)*)?(?:\[[\w/+-]+\])?)?$"
)
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})" + _TIME)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:\.0+)?" + _TIME)
_JAPANESE = re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日" + _TIME)
_THREE = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})" + _TIME)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_NAME = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_DAY_NAME = re.compile(_WEEKDAY + r"(\d{1,2})[-/ ]?" + _NAME + r"[-/, ]*(\d{4})" + _TIME, re.I)
_NAME_DAY = re.compile(_WEEKDAY + _NAME + r"[- ]?(\d{1,2})(?:,\s*|[- ])(\d{4})" + _TIME, re.I)
_EPOCH = dt.date(1970, 1, 1).toordinal()
FIRST_DAY = dt.date(FIRST_YEAR, 1, 1).toordinal() - _EPOCH
LAST_DAY = dt.date(LAST_YEAR, 12, 31).toordinal() - _EPOCH


class UnreadableDateError(ValueError):
    """A text that is no date, or not for certain."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"{text!r}: {why}")
        self.text, self.why = text, why


def parse_dates(texts: Sequence[str], date_format: str | None) -> tuple[list[int], list[str]]:
    """Days since 1970-01-01 of texts that belong to one column, and what was decided on the way.

    Args:
        date_format: a key of `ORDERS` or `UNIX_UNITS`, a strptime format, or None: by their form.

    Raises:
        UnreadableDateError: a text is no date, or the order of day and month is not certain.
    """
    if date_format in UNIX_UNITS:
        ticks = UNIX_UNITS[date_format] * 86_400
        return [_each(text, lambda t: int(float(t)) // ticks) for text in texts], []
    if date_format is not None and date_format not in ORDERS:
        return [_each(text, lambda t: _by_format(t, date_format)) for text in texts], []
    days: dict[str, int] = {}
    numbers: dict[str, tuple[str, str, str]] = {}
    for text in texts:
        if found := _THREE.match(text.strip()):
            numbers[text] = found[1], found[3], found[4]
        else:
            days[text] = _each(text, _unambiguous)
    said: list[str] = []
    if numbers:
        order = _order(numbers, date_format)
        days |= {text: _in_order(three, order) or 0 for text, three in numbers.items()}
        if date_format is None:
            others = [other for other in ORDERS if other != order]
            example = max(
                numbers, key=lambda t: [_in_order(numbers[t], o) for o in others].count(None)
            )
            said = [
                f"dates such as {example} are read {order.replace('_', ' ')}: no other order fits"
            ]
    return [days[text] for text in texts], said


def _each(text: str, parse: Callable[[str], int]) -> int:
    try:
        day = parse(text.strip())
    except (ValueError, OverflowError) as error:
        raise UnreadableDateError(text, f"no date: {error}") from error
    if not FIRST_DAY <= day <= LAST_DAY:
        raise UnreadableDateError(text, "of an impossible year")
    return day


def _by_format(text: str, date_format: str) -> int:
    return dt.datetime.strptime(text, date_format).date().toordinal() - _EPOCH


def _unambiguous(text: str) -> int:
    for pattern in (_YEAR_FIRST, _COMPACT, _JAPANESE):
        if found := pattern.match(text):
            year, month, day = (found.group(1), *found.groups()[-2:])
            return _days(int(year), int(month), int(day))
    if found := _DAY_NAME.match(text):
        return _days(int(found[3]), _MONTHS.index(found[2].lower()) + 1, int(found[1]))
    if found := _NAME_DAY.match(text):
        return _days(int(found[3]), _MONTHS.index(found[1].lower()) + 1, int(found[2]))
    raise ValueError("its form is not known")


def _order(numbers: dict[str, tuple[str, str, str]], given: str | None) -> str:
    """The one order of day, month and year in which every text is a date."""
    readings: dict[str, list[int | None]] = {
        order: [_in_order(three, order) for three in numbers.values()]
        for order in ([given] if given else ORDERS)
    }
    fitting = {order: read for order, read in readings.items() if None not in read}
    first = next(iter(numbers))
    if not fitting:
        misfit = next(t for i, t in enumerate(numbers) if _worst(readings)[i] is None)
        raise UnreadableDateError(misfit, f"no order of day and month fits it and {first!r}")
    if len({tuple(read) for read in fitting.values()}) > 1:
        orders = " and ".join(order.replace("_", " ") for order in fitting)
        raise UnreadableDateError(
            first, f"{orders} both fit: say data.date_format = " + " or ".join(map(repr, fitting))
        )
    return next(iter(fitting))


def _worst(readings: dict[str, list[int | None]]) -> list[int | None]:
    """Of the order that fits most texts, so that the example is one that does not belong."""
    return min(readings.values(), key=lambda read: read.count(None))


def _in_order(three: tuple[str, str, str], order: str) -> int | None:
    year, month, day = (three[place] for place in ORDERS[order])
    if len(year) not in (2, 4) or len(month) > 2 or len(day) > 2:
        return None
    century = 0 if len(year) == 4 else (1900 if int(year) >= 69 else 2000)
    try:
        found = _days(century + int(year), int(month), int(day))
    except ValueError:
        return None
    inside = FIRST_DAY <= found <= LAST_DAY
    return found if inside else None


def _days(year: int, month: int, day: int) -> int:
    return dt.date(year, month, day).toordinal() - _EPOCH
