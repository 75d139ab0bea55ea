"""The daily series of a trial's peers, as its pruner wants them after each epoch.

    peers = Peers(study, number, most=50, series=("return_net", "ic"))
    found = database.run(lambda connection: peers.read(connection, steps, report.daily.dates))

An epoch's series are some kilobytes, and a late trial has thousands of peers with five epochs each
in its window. So no more than the newest `most` peers are looked at, each epoch is read once, and
the database cuts out the rows that are compared: a third of the bytes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from atft_hpo.search.records import EpochSeries
from atft_hpo.service.database.series_bytes import decode_daily, decode_rows, encode_dates, place_of

_ROWS = text("""
    SELECT number, same_days, CASE
        WHEN number = ANY(:known) THEN NULL
        WHEN same_days THEN substring(daily FROM :first_0 FOR :size)
                            || substring(daily FROM :first_1 FOR :size)
        ELSE daily END
    FROM (
        SELECT number, daily, substring(daily FROM 1 FOR length(:dates)) = :dates AS same_days
        FROM (
            SELECT number, daily FROM atft_epoch
            WHERE study = :study AND step = :step AND number <> :number
              AND (CAST(:given AS integer[]) IS NULL OR number = ANY(:given))
            ORDER BY number DESC LIMIT :most
        ) chosen OFFSET 0
    ) compared
""")
"""The newest peers' epochs, or the given ones'. Of other days, everything is read: it is for the
pruner to say what is wrong. OFFSET 0: the days are compared once."""


class Peers:
    """Reads what the process has not read before; used from one thread."""

    def __init__(self, study: str, number: int, most: int, series: tuple[str, str]) -> None:
        """`number`: the trial whose peers they are; `series`: fields of `DailySeries` to read."""
        self._study, self._number, self._most = study, number, most
        self._names = series
        self._known: dict[int, dict[int, EpochSeries]] = {}
        """By step and number."""

    def read(
        self, connection: Connection, steps: Sequence[int], dates_D: NDArray[np.datetime64]
    ) -> dict[int, list[EpochSeries]]:
        """Epochs at `steps` (ascending), by number, of the newest peers that have the last one.

        Series of `dates_D` have that very array as their dates.
        """
        *earlier, last = steps
        self._known = {step: self._known.get(step, {}) for step in steps}
        numbers = self._rows(connection, last, dates_D)
        for step in earlier:
            missing = [number for number in numbers if number not in self._known[step]]
            if missing:
                self._rows(connection, step, dates_D, missing)
        known = self._known.values()
        return {number: [at[number] for at in known if number in at] for number in numbers}

    def _rows(
        self,
        connection: Connection,
        step: int,
        dates_D: NDArray[np.datetime64],
        given: list[int] | None = None,
    ) -> list[int]:
        """Numbers of the epochs found, newest first; all of them are known afterwards."""
        known = self._known[step]
        (first, size), (second, _) = (place_of(name, len(dates_D)) for name in self._names)
        values = {
            "study": self._study, "step": step, "number": self._number, "most": self._most,
            "given": given, "known": list(known),
            "first_0": first, "first_1": second, "size": size, "dates": encode_dates(dates_D),
        }  # fmt: skip
        rows = connection.execute(_ROWS, values)
        numbers = []
        for number, same_days, content in rows:
            numbers.append(number)
            if content is not None:
                data = bytes(content)
                daily = decode_rows(data, dates_D, self._names) if same_days else decode_daily(data)
                known[number] = EpochSeries(step, daily)
        return numbers
