"""Suspicious prices of a table by kind, as they go into the panel's manifest.

    found, suspicious_R = find_suspicious(JudgedPrices.of_prices(prices))
    found.unadjusted_splits.count; found.model_dump(mode="json")

Some kinds look at the days after. So findings may say which labels to leave out; they are no
feature, and the universe does not depend on them.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from atft_hpo.data.suspicious.bad_returns import extreme_returns, reversals, untraded_changes
from atft_hpo.data.suspicious.judged_prices import Flags, Ints, JudgedPrices
from atft_hpo.data.suspicious.split_ratios import Splits, unadjusted_splits
from atft_hpo.data.suspicious.stale_runs import StaleRuns, stale_runs
from atft_hpo.data.suspicious.thin_days import ThinDays, thin_days

WORST = 5
"""Examples kept of each kind."""
_LARGEST = 700.0
"""Of a log return whose size is told: beyond, its exponential is infinite."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Record):
    """One of the worst."""

    date: str
    """ISO; of a run its first day."""
    code: str | None
    """None for a whole day."""
    size: float
    """Returns: close / close of the row before − 1. Days: share of stocks missing against the days
    around. Runs: equal closes, in rows."""
    note: str = ""
    """Splits: new for old shares, such as "5:1". Days: what is missing."""


class Finding(_Record):
    """One kind."""

    count: int
    """Rows; days of `thin_days`; runs of `stale_runs`."""
    share: float
    """Of all rows (of `stale_runs`, those in runs); of all days for `thin_days`."""
    worst: tuple[Example, ...]
    """At most WORST, largest first."""


class SplitDay(_Record):
    """Splits of one ratio on one day."""

    date: str
    ratio: str
    count: int


class SuspiciousPrices(_Record):
    """What looks wrong in a table of prices, on all its days."""

    reversals: Finding
    """A return beyond 35 % that the next row takes back: a bad print."""
    unadjusted_splits: Finding
    """A step by a split's ratio that stays."""
    split_days: tuple[SplitDay, ...]
    """The days with most splits of one ratio, at most WORST."""
    extreme_returns: Finding
    """A close five times the one before, or a fifth, that is neither."""
    thin_days: Finding
    """Days on which most stocks have no row, no trade, or an unchanged close, or none a close."""
    stale_runs: Finding
    """Five equal closes or more in a row, too many for chance."""
    untraded_changes: Finding | None
    """A changed close with volume 0; None where volumes are unknown."""


def find_suspicious(rows: JudgedPrices) -> tuple[SuspiciousPrices, Flags]:
    """All findings, and [R] whether the return since the row before is not to be trusted.

    Not to be trusted are the returns into and out of a bad print, and that of a split's day.
    Extreme returns are not among them: some companies do lose nine tenths in a day, and to leave
    that out would flatter.
    """
    undone = reversals(rows)
    splits = unadjusted_splits(rows).without(np.concatenate([undone, undone + 1]))
    suspicious_R = np.zeros(len(rows.close_R), np.bool_)
    suspicious_R[np.concatenate([undone, undone + 1, splits.row_M])] = True
    extreme = extreme_returns(rows, np.flatnonzero(suspicious_R))
    untraded = None if rows.volume_R is None else _returns(rows, untraded_changes(rows))
    found = SuspiciousPrices(
        reversals=_returns(rows, undone),
        unadjusted_splits=_returns(rows, splits.row_M, splits.name_M.tolist()),
        split_days=_split_days(rows, splits),
        extreme_returns=_returns(rows, extreme),
        thin_days=_days(rows, thin_days(rows)),
        stale_runs=_runs(rows, stale_runs(rows)),
        untraded_changes=untraded,
    )
    return found, suspicious_R


def _returns(rows: JudgedPrices, row_M: Ints, notes: Sequence[str] | None = None) -> Finding:
    r_M = rows.log_returns[row_M]
    return Finding(
        count=len(row_M),
        share=len(row_M) / len(rows.close_R),
        worst=tuple(
            _example(rows, row_M[c], np.expm1(min(r_M[c], _LARGEST)), notes[c] if notes else "")
            for c in np.argsort(-np.abs(r_M), kind="stable")[:WORST]
        ),
    )


def _example(rows: JudgedPrices, row: int, size: float, note: str = "") -> Example:
    stock = int(rows.stock_of(np.array([row]))[0])
    date = str(rows.dates[rows.day_R[row]])
    return Example(date=date, code=rows.codes[stock], size=round(float(size), 6), note=note)


def _split_days(rows: JudgedPrices, splits: Splits) -> tuple[SplitDay, ...]:
    cells = list(zip(rows.day_R[splits.row_M].tolist(), splits.name_M.tolist(), strict=True))
    counts = Counter(sorted(cells))
    most = sorted(counts, key=lambda cell: -counts[cell])[:WORST]
    return tuple(
        SplitDay(date=str(rows.dates[day]), ratio=name, count=counts[day, name])
        for day, name in most
    )


def _days(rows: JudgedPrices, days: ThinDays) -> Finding:
    thin = list(
        zip(
            rows.dates[days.day_M].astype(str).tolist(),
            days.missing_M.tolist(),
            days.reason_M.tolist(),
            strict=True,
        )
    )
    found = sorted(thin + [(date, 1.0, "no closes") for date in rows.empty_dates])
    worst = sorted(found, key=lambda day: -day[1])[:WORST]
    return Finding(
        count=len(found),
        share=len(found) / (len(rows.dates) + len(rows.empty_dates)),
        worst=tuple(
            Example(date=date, code=None, size=round(size, 6), note=reason)
            for date, size, reason in worst
        ),
    )


def _runs(rows: JudgedPrices, runs: StaleRuns) -> Finding:
    order = np.argsort(-runs.rows_M, kind="stable")[:WORST]
    return Finding(
        count=len(runs.first_M),
        share=float(runs.rows_M.sum()) / len(rows.close_R),
        worst=tuple(_example(rows, runs.first_M[c], runs.rows_M[c]) for c in order),
    )
