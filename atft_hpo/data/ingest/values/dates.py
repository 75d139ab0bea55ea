"""One parser of dates, for every table.

    column = DateColumn("date", config.date_format)
    for batch in batches: column.add(batch.column("date"), file)
    day_R = column.days()               # days since 1970-01-01; column.said: what had to be decided

A typed date is itself; of a timestamp with a zone the zone's own day counts (midnight in Tokyo is
not the day before). Texts and numbers are told apart by their form, ISO 8601 or 20240105 or with
a month's name; where day and month are both numbers, 01/14/2019, their order must follow from the
column as a whole, over all files, or be said in `data.date_format`. Nothing is guessed.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atft_hpo.data.ingest.values.arrow_values import (
    UNKNOWN_WORDS,
    Vocabulary,
    decoded,
    is_number,
    is_text,
    value_type,
    words_in,
)
from atft_hpo.data.ingest.values.date_texts import (
    FIRST_DAY,
    FIRST_YEAR,
    LAST_DAY,
    LAST_YEAR,
    UnreadableDateError,
    parse_dates,
)
from atft_hpo.errors import DataError

_TIME_OF_DAY = re.compile(r"\d[T\s](?!00:?00)\d{2}:?\d{2}")
_FRIDAY, _SUNDAY = 4, 6


class DateColumn:
    """The dates of a column that comes in batches, from one or many files."""

    def __init__(self, name: str, date_format: str | None) -> None:
        self.said: list[str] = []
        """What had to be decided about the form of texts, once `days` was asked."""
        self._name, self._format = name, date_format
        self._words = Vocabulary()
        self._file_of: dict[str, Path] = {}
        self._has_times = False
        self._parts: list[tuple[bool, NDArray[np.int32]]] = []

    def add(self, column: pa.Array, file: Path) -> None:
        """The next rows.

        Raises:
            DataError: a value is null, or of a type that holds no dates.
        """
        if column.null_count:
            raise self._null(file, column.null_count)
        kind = value_type(column)
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            self._parts.append((True, self._typed(column, kind, file)))
            return
        if not (is_text(kind) or is_number(kind)) or pa.types.is_boolean(kind):
            raise self._refused(str(column[0]) if len(column) else None, f"{kind}", file)
        known = len(self._words.words)
        part = self._words.encode(column)
        if absent := int(np.count_nonzero(part < 0)):
            raise self._null(file, absent)
        self._parts.append((False, part))
        self._file_of |= dict.fromkeys(self._words.words[known:], file)

    def days(self) -> NDArray[np.int32]:
        """Days since 1970-01-01 of all rows, in the order they were added.

        Raises:
            DataError: a value is no date, its year is impossible, or its order is not certain.
        """
        words = self._words.words
        self._refuse_absent(words)
        try:
            of_word, self.said = parse_dates(words, self._format)
        except UnreadableDateError as error:
            raise self._refused(error.text, error.why, self._file_of[error.text]) from error
        day_W = np.array(of_word, dtype=np.int32)
        parts = [part if typed else day_W[part] for typed, part in self._parts]
        day_R = np.concatenate([np.empty(0, np.int32), *parts])
        if self._has_times or any(map(_TIME_OF_DAY.search, words)):
            self._say_if_shifted(day_R)
        return day_R

    def _say_if_shifted(self, day_R: NDArray[np.int32]) -> None:
        """Midnight in Asia or Australia, told by UTC's clock, is the day before."""
        weekdays = {int(weekday) for weekday in np.unique((day_R + 3) % 7)}
        if _SUNDAY in weekdays and _FRIDAY not in weekdays and len(weekdays) > 2:
            self.said.append(
                "timestamps have a time of day and fall on Sundays, not on Fridays: if that is "
                "another zone's midnight, give timestamps in the exchange's own zone"
            )

    def _typed(self, column: pa.Array, kind: pa.DataType, file: Path) -> NDArray[np.int32]:
        column = decoded(column)
        try:
            if pa.types.is_timestamp(kind) and kind.tz is not None:
                column = pc.local_timestamp(column)
            date = pc.cast(column, pa.date32(), safe=False)
            days = np.asarray(date.cast(pa.int32()))
            if pa.types.is_timestamp(kind) and not self._has_times:
                self._has_times = not column.equals(date.cast(column.type))
        except pa.ArrowException as error:
            raise self._refused(column[0], f"{kind}", file) from error
        wrong = (days < FIRST_DAY) | (days > LAST_DAY)
        if wrong.any():
            example = np.datetime64(int(days[wrong.argmax()]), "D")
            raise self._refused(str(example), "of an impossible year", file)
        return days

    def _refuse_absent(self, words: Sequence[str]) -> None:
        absent = [
            number for number, word in enumerate(words) if word.strip().lower() in UNKNOWN_WORDS
        ]
        if absent:
            count = sum(
                int(np.isin(part, absent).sum()) for typed, part in self._parts if not typed
            )
            raise self._null(self._file_of[words[absent[0]]], count)

    def _null(self, file: Path, count: int) -> DataError:
        return DataError(f"{file}: column {self._name!r} is null in {count:,} row(s)")

    def _refused(self, value: Any, why: str, file: Path) -> DataError:
        return DataError(
            f"{file}: column {self._name!r} holds {value!r} ({why}); expected a date from "
            f"{FIRST_YEAR} to {LAST_YEAR}: a date, a timestamp, 20200131, text such as 2020-01-31, "
            "or say its form in data.date_format"
        )


def looks_like_dates(column: pa.Array) -> bool:
    """Whether a column without a telling name holds dates and nothing else."""
    kind = value_type(column)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return True
    if not (pa.types.is_integer(kind) or is_text(kind)):
        return False
    texts = [text for text in words_in(column) if text.strip()]
    try:
        parse_dates(texts, None)
    except UnreadableDateError:
        return False
    return bool(texts)
