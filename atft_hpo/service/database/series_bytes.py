"""Daily series as bytes, as they stand in `atft_epoch.daily`.

D (int32), then dates (int32 days since 1970), a float32 row of D for each of _SERIES, and the dates
on which returns were realised. Rows that an earlier version did not write, or that were not read,
are NaN, such dates NaT.

    data = encode_daily(report.daily)
    daily = decode_daily(data)                          # all of it
    first, size = place_of("return_net", days)          # or some rows, cut out by the database
    daily = decode_rows(cut, dates_D, ("return_net", "ic"))
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from atft_hpo.evaluation.series import DailySeries

_NAT = np.iinfo(np.int32).min
_SERIES = ("ic", "rank_ic", "return_gross", "return_net", "turnover", "pure_rank_ic")


def encode_daily(daily: DailySeries) -> bytes:
    """Bytes of a daily series, see the module."""
    rows = [np.asarray(getattr(daily, name), dtype="<f4").tobytes() for name in _SERIES]
    return b"".join([encode_dates(daily.dates), *rows, _days(daily.realised).tobytes()])


def encode_dates(dates_D: NDArray[np.datetime64]) -> bytes:
    """What comes before the rows."""
    days_D = _days(dates_D)
    return np.array([len(days_D)], dtype="<i4").tobytes() + days_D.tobytes()


def place_of(name: str, days: int) -> tuple[int, int]:
    """Where the row `name` stands: its first byte, counted from 1 as SQL does, and its bytes."""
    size = 4 * days
    return 1 + 4 + size + size * _SERIES.index(name), size


def decode_daily(data: bytes) -> DailySeries:
    """The series that `encode_daily` wrote, now or before there were as many; not to be changed.

    Equal dates are one array.
    """
    days = int.from_bytes(data[:4], "little")
    header = 4 + 4 * days
    end = header + len(_SERIES) * 4 * days
    daily = decode_rows(data[header:end], _dates(data[4:header]), _SERIES)
    return replace(daily, realised=_dates(data[end:])) if data[end:] else daily


def decode_rows(data: bytes, dates_D: NDArray[np.datetime64], names: Sequence[str]) -> DailySeries:
    """The rows `names`, one after another, of these dates; missing ones may be the last."""
    days = len(dates_D)
    values = np.frombuffer(data, dtype="<f4")
    rows = values.reshape(len(values) // max(days, 1), days)
    series = dict.fromkeys(_SERIES, _nothing(days)) | dict(zip(names, rows, strict=False))
    return DailySeries(dates=dates_D, **series, realised=_never(days))


def _days(dates_D: NDArray[np.datetime64]) -> NDArray[np.int32]:
    """Days since 1970, the least number for NaT."""
    days_D = dates_D.astype("datetime64[D]").astype(np.int64)
    return np.where(np.isnat(dates_D), _NAT, days_D).astype("<i4")


@lru_cache(maxsize=8)
def _dates(data: bytes) -> NDArray[np.datetime64]:
    days_D = np.frombuffer(data, dtype="<i4")
    dates_D = days_D.astype("int64").astype("datetime64[D]")
    dates_D[days_D == _NAT] = np.datetime64("NaT", "D")
    dates_D.flags.writeable = False
    return dates_D


@lru_cache(maxsize=8)
def _never(days: int) -> NDArray[np.datetime64]:
    dates_D = np.full(days, np.datetime64("NaT", "D"))
    dates_D.flags.writeable = False
    return dates_D


@lru_cache(maxsize=8)
def _nothing(days: int) -> NDArray[np.float32]:
    values_D = np.full(days, np.nan, dtype=np.float32)
    values_D.flags.writeable = False
    return values_D
