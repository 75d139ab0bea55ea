"""Labels and daily returns as dense tensors, from given columns or from prices.

Label for horizon h with trading delay δ, on the panel's own trading-day axis:
close[d+δ+h] / close[d+δ] − 1. Missing stays missing (NaN), never zero.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ingest.table import Rows, Table
from atft_hpo.errors import DataError

Prices = NDArray[np.float64]


def dense(rows: Rows, values_R: NDArray[Any], missing: float = np.nan) -> Prices:
    """[D, N] from one value per row; `missing` where there is no row."""
    grid_DN = np.full((len(rows.dates), len(rows.codes)), missing)
    grid_DN[rows.day_R, rows.stock_R] = values_R
    return grid_DN


def close_prices(rows: Rows, table: Table) -> Prices | None:
    """[D, N] closes; NaN where missing, infinite or not positive. None without the column."""
    if "close" not in table.optional:
        return None
    close_R = rows.numbers["close"]
    valid = np.isfinite(close_R) & (close_R > 0)
    return dense(rows, np.where(valid, close_R, np.nan))


def forward_returns(close_DN: Prices, horizon: int, delay: int) -> Prices:
    """[D, N] close[d+δ+h] / close[d+δ] − 1; NaN where a close is missing or past the end."""
    out_DN = np.full_like(close_DN, np.nan)
    last = len(close_DN) - delay - horizon
    if last > 0:
        entry_DN, exit_DN = close_DN[delay : delay + last], close_DN[delay + horizon :]
        out_DN[:last] = exit_DN / entry_DN - 1
    return out_DN


def label_tensor(
    rows: Rows, table: Table, close_DN: Prices | None, horizons: tuple[int, ...], delay: int
) -> NDArray[np.float32]:
    """[D, N, Q] raw returns: the columns given, else derived from closes.

    Raises:
        DataError: a horizon has no label at all.
    """
    out_DNQ = np.empty((len(rows.dates), len(rows.codes), len(horizons)), dtype=np.float32)
    for q, horizon in enumerate(horizons):
        if horizon in table.targets:
            given_R = rows.numbers[table.targets[horizon]]
            out_DNQ[..., q] = dense(rows, np.where(np.isfinite(given_R), given_R, np.nan))
        else:
            assert close_DN is not None  # `open_table` refuses a table with neither
            out_DNQ[..., q] = forward_returns(close_DN, horizon, delay)
        if np.isnan(out_DNQ[..., q]).all():
            raise DataError(
                f"no label for horizon {horizon} days: {len(rows.dates)} days of data, delay "
                f"{delay}; give longer data, filled target columns, or shorter data.horizons_days"
            )
    return out_DNQ


def known_returns(
    rows: Rows, table: Table, close_DN: Prices | None, target_1d_DN: NDArray[np.float32], delay: int
) -> NDArray[np.float32]:
    """[D, N] one-day returns known at d: `return_1d`, else closes, else `target_1d` once realised.

    target_1d of day e is known at e + δ + 1, so the last form is its shift by that much.
    """
    if "return_1d" in table.optional:
        given_R = rows.numbers["return_1d"]
        return dense(rows, np.where(np.isfinite(given_R), given_R, np.nan)).astype(np.float32)
    out_DN = np.full(target_1d_DN.shape, np.nan, dtype=np.float32)
    if close_DN is not None:
        out_DN[1:] = close_DN[1:] / close_DN[:-1] - 1
    else:
        out_DN[delay + 1 :] = target_1d_DN[: -(delay + 1)]
    return out_DN
