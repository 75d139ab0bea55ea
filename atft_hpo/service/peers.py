"""The daily series of a trial's peers, as its pruner wants them after each epoch.

    peers = Peers(study, number, most=100, series=("return_net", "ic"))
    found = database.run(lambda connection: peers.read(connection, steps, report.daily.dates))

An epoch's series are some kilobytes, and a late trial has thousands of peers with five epochs each
in its window. So no more than the newest `most` peers are looked at, each epoch is read once, and
the database cuts out the rows that are compared: a third of the bytes.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from atft_hpo.search.records import EpochSeries
from atft_hpo.service.daily import decode_daily, decode_rows, encode_dates, place_of

_Key = tuple[int, int]
"""Trial number and step."""

_NEWEST = text("""
    SELECT number FROM atft_epoch WHERE study = :study AND step = :step AND number <> :number
    ORDER BY number DESC LIMIT :most
""")
_SERIES = text("""
    SELECT number, same_days, CASE WHEN same_days
        THEN substring(daily FROM :first_0 FOR :size) || substring(daily FROM :first_1 FOR :size)
        ELSE daily END
    FROM (
        SELECT number, daily, substring(daily FROM 1 FOR length(:dates)) = :dates AS same_days
        FROM atft_epoch WHERE study = :study AND step = :step AND number = ANY(:numbers)
    ) e
""")
"""Of other days, everything is read: it is for the pruner to say what is wrong."""


class Peers:
    """Reads what the process has not read before; used from one thread."""

    def __init__(self, study: str, number: int, most: int, series: tuple[str, str]) -> None:
        """`number`: the trial whose peers they are; `series`: fields of `DailySeries` to read."""
        self._study, self._number, self._most = study, number, most
        self._names = series
        self._known: dict[_Key, EpochSeries] = {}

    def read(
        self, connection: Connection, steps: Sequence[int], dates_D: NDArray[np.datetime64]
    ) -> dict[int, list[EpochSeries]]:
        """Epochs at `steps` (ascending), by number, of the newest peers that have the last one.

        Series of `dates_D` have that very array as their dates.
        """
        numbers = self._numbers(connection, steps[-1])
        wanted = [(number, step) for step in steps for number in numbers]
        self._known = {key: self._known[key] for key in wanted if key in self._known}
        for step in steps:
            missing = [number for number in numbers if (number, step) not in self._known]
            self._known |= dict(self._series(connection, step, missing, dates_D))
        return {
            number: [self._known[number, s] for s in steps if (number, s) in self._known]
            for number in numbers
        }

    def _numbers(self, connection: Connection, step: int) -> Sequence[int]:
        values = {"study": self._study, "step": step, "number": self._number, "most": self._most}
        return connection.execute(_NEWEST, values).scalars().all()

    def _series(
        self,
        connection: Connection,
        step: int,
        numbers: Sequence[int],
        dates_D: NDArray[np.datetime64],
    ) -> Iterable[tuple[_Key, EpochSeries]]:
        if not numbers:
            return
        (first, size), (second, _) = (place_of(name, len(dates_D)) for name in self._names)
        values = {
            "study": self._study, "step": step, "numbers": numbers,
            "dates": encode_dates(dates_D), "first_0": first, "first_1": second, "size": size,
        }  # fmt: skip
        for number, same_days, data in connection.execute(_SERIES, values):
            content = bytes(data)
            daily = (
                decode_rows(content, dates_D, self._names) if same_days else decode_daily(content)
            )
            yield (number, step), EpochSeries(step, daily)
