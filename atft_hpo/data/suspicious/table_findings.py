"""Findings on their way from prices to the manifest, through a tidy table.

    found, suspicious_R = found_in_prices(prices, progress)     # as features are built
    found, suspicious_R = found_in_table(table, rows)           # as they are packed

The column `suspicious` says which rows' returns are not to be trusted; what else was found stands
in the table's report. A table that comes without them, from elsewhere, is
judged by its closes.
"""

import numpy as np
from pydantic import ValidationError

from atft_hpo.data.ingest.prices import Prices
from atft_hpo.data.ingest.table import Rows, Table
from atft_hpo.data.suspicious.findings import SuspiciousPrices, find_suspicious
from atft_hpo.data.suspicious.judged_prices import Flags, JudgedPrices
from atft_hpo.progress import Progress

REPORTED_AS = "suspicious_prices"
"""In what `build_features` says of its input, which goes along with the table."""


def found_in_prices(prices: Prices, progress: Progress) -> tuple[SuspiciousPrices, Flags]:
    """`find_suspicious` of daily prices, with a line to `progress` where returns are wrong."""
    found, suspicious_R = find_suspicious(JudgedPrices.of_prices(prices))
    splits, bad = found.unadjusted_splits.count, found.reversals.count
    if splits or bad:
        progress(
            f"suspicious prices: {splits:,} unadjusted split(s), {bad:,} return(s) reversed the "
            "next day; `panel describe` lists them, data.suspicious_prices says what to do"
        )
    return found, suspicious_R


def found_in_table(table: Table, rows: Rows) -> tuple[SuspiciousPrices | None, Flags]:
    """Findings that a table carries, else those of its closes; None where it has no closes either.

    The flags, one a row of the table, are the column `suspicious` where there is one.
    """
    carried = _carried(table)
    marked = "suspicious" in table.optional
    if "close" not in rows.numbers or (carried and marked):
        return carried, rows.suspicious_R
    closes, row_R = JudgedPrices.of_closes(rows)
    if not len(row_R):
        return carried, rows.suspicious_R
    found, of_closes = find_suspicious(closes)
    if marked:
        return carried or found, rows.suspicious_R
    suspicious_R = np.zeros(len(rows.day_R), np.bool_)
    suspicious_R[row_R] = of_closes
    return carried or found, suspicious_R


def _carried(table: Table) -> SuspiciousPrices | None:
    """Findings in the table's report; None without, or where another version wrote."""
    kept = table.report.get(REPORTED_AS)
    try:
        return SuspiciousPrices.model_validate(kept) if kept else None
    except ValidationError:
        return None
