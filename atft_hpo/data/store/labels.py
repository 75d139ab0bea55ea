"""Labels and daily returns as dense tensors, from given columns or from prices.

On the panel's own trading-day axis a position decided at the close of day d is entered at the close
of d+δ and left at that of d+δ+h, so its label is close[d+δ+h] / close[d+δ] − 1. Where it cannot be
entered at d+δ (no row, no trade, locked at a limit) there is no label. Where it cannot be left at
d+δ+h, it is left at the first close at which it can, so that a jump over a halt is in the label of
who was caught in it; where no such close comes any more, it is marked to the last close known.
Missing stays missing (NaN), never zero.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.ingest.table import Rows, Table
from atft_hpo.errors import DataError

Prices = NDArray[np.float64]
Bools = NDArray[np.bool_]


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


def last_known(close_DN: Prices) -> Prices:
    """[D, N] close of the day or, without one, of the last day that has one; NaN before."""
    day_D1 = np.arange(len(close_DN))[:, None]
    last_DN = np.maximum.accumulate(np.where(np.isnan(close_DN), 0, day_D1), axis=0)
    return np.take_along_axis(close_DN, last_DN, axis=0)


def next_tradable(tradable_DN: Bools) -> NDArray[np.int64]:
    """[D, N] first day, today included, on which a stock can be traded; D where none comes."""
    days = len(tradable_DN)
    day_DN = np.where(tradable_DN, np.arange(days)[:, None], days)
    return np.asarray(np.minimum.accumulate(day_DN[::-1], axis=0)[::-1])


def exit_prices(close_DN: Prices, tradable_DN: Bools) -> Prices:
    """[D, N] close at which a position is left that is to be left on a day, see the module.

    Args:
        close_DN: NaN where there is none.
        tradable_DN: False wherever there is no close.
    """
    day_DN = next_tradable(tradable_DN)
    found_DN = np.take_along_axis(close_DN, np.minimum(day_DN, len(close_DN) - 1), axis=0)
    return np.where(day_DN < len(close_DN), found_DN, last_known(close_DN)[-1])


def forward_returns(entry_DN: Prices, exit_DN: Prices, horizon: int, delay: int) -> Prices:
    """[D, N] labels of one horizon; NaN past the end of the panel.

    Args:
        entry_DN: closes at which a position can be entered, else NaN.
        exit_DN: `exit_prices`.
    """
    out_DN = np.full_like(entry_DN, np.nan)
    last = len(entry_DN) - delay - horizon
    if last > 0:
        out_DN[:last] = exit_DN[delay + horizon :] / entry_DN[delay : delay + last] - 1
    return out_DN


def label_tensor(
    rows: Rows,
    table: Table,
    close_DN: Prices | None,
    tradable_DN: Bools,
    horizons: tuple[int, ...],
    delay: int,
) -> NDArray[np.float32]:
    """[D, N, Q] raw returns: the columns given, else derived from closes.

    Raises:
        DataError: a horizon has no label at all.
    """
    out_DNQ = np.empty((len(rows.dates), len(rows.codes), len(horizons)), dtype=np.float32)
    if close_DN is not None:
        entry_DN = np.where(tradable_DN, close_DN, np.nan)
        exit_DN = exit_prices(close_DN, tradable_DN)
    for q, horizon in enumerate(horizons):
        if horizon in table.targets:
            given_R = rows.numbers[table.targets[horizon]]
            out_DNQ[..., q] = dense(rows, np.where(np.isfinite(given_R), given_R, np.nan))
        else:
            assert close_DN is not None  # `open_table` refuses a table with neither
            out_DNQ[..., q] = forward_returns(entry_DN, exit_DN, horizon, delay)
        if np.isnan(out_DNQ[..., q]).all():
            raise DataError(
                f"no label for horizon {horizon} days: {len(rows.dates)} days of data, delay "
                f"{delay}; give longer data, filled target columns, or shorter data.horizons_days"
            )
    return out_DNQ


def known_returns(
    rows: Rows, table: Table, close_DN: Prices | None, target_1d_DN: NDArray[np.float32], delay: int
) -> NDArray[np.float32]:
    """[D, N] returns known at d since the last close before: `return_1d`, else closes, else
    `target_1d` once realised.

    The first close after missing days holds the return over all of them. target_1d of day e is
    known at e + δ + 1, so the last form is its shift by that much.
    """
    if "return_1d" in table.optional:
        given_R = rows.numbers["return_1d"]
        return dense(rows, np.where(np.isfinite(given_R), given_R, np.nan)).astype(np.float32)
    out_DN = np.full(target_1d_DN.shape, np.nan, dtype=np.float32)
    if close_DN is not None:
        out_DN[1:] = close_DN[1:] / last_known(close_DN)[:-1] - 1
    else:
        out_DN[delay + 1 :] = target_1d_DN[: -(delay + 1)]
    return out_DN
