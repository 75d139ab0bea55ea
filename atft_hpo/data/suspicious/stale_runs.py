"""Runs of equal closes too long to be chance.

A stock at 30 whose tick is 1 closes unchanged every other day, and five equal closes in a row say
nothing; at 3,000 they do. A run of L equal closes is suspicious where its chance, p^(L − 1), is
below MOST_LIKELY. p, the chance that a close repeats, is the larger of two, from the stock's rows
around the run (the run itself left out, so that a stale stock does not excuse itself):

- habit: the share of changed closes that are followed by an unchanged one;
- tick over price: a walk of daily volatility σ stays within a tick τ, day after day, with
  exp(−π²σ² / 2(τ + 1.165σ)²), the decay of diffusion between two absorbing ends, which lie further
  apart for a walk in steps (Siegmund 1979), and never more often than τ / (σ √2π). τ is the
  smallest change of the close seen, relative to the run's, since adjusted prices hide their tick.
"""

from dataclasses import dataclass

import numpy as np

from atft_hpo.data.suspicious.judged_prices import SAME_CLOSE, Floats, Ints, JudgedPrices

LEAST_ROWS = 5
"""Equal closes that make a run."""
MOST_LIKELY = 1e-6
"""Chance above which a run is natural."""
_ROWS_AROUND = 250
"""On each side."""
_PRIOR_ROWS = 10
"""The whole table's habit counts as much as so many rows of the stock."""
_BARRIER_SHIFT = 2 * 0.5826
_CHUNK = 10_000
"""Runs looked at together."""


@dataclass(frozen=True)
class StaleRuns:
    """M runs, in the order of rows."""

    first_M: Ints
    """First row of each run."""
    rows_M: Ints
    """Its length: equal closes, the first included."""


def stale_runs(rows: JudgedPrices) -> StaleRuns:
    """Runs of at least LEAST_ROWS equal closes that neither habit nor tick explains."""
    begin, repeats = _runs(rows)
    long = repeats >= LEAST_ROWS - 1
    begin, repeats = begin[long], repeats[long]
    for chance in (_habit, _within_tick):  # the second is dear: of what the first leaves
        odd = chance(rows, begin, repeats) ** repeats <= MOST_LIKELY
        begin, repeats = begin[odd], repeats[odd]
    return StaleRuns(begin - 1, repeats + 1)


def _runs(rows: JudgedPrices) -> tuple[Ints, Ints]:
    """First unchanged row of each run, and how many follow one another."""
    edges = np.diff(rows.unchanged.astype(np.int8), prepend=0, append=0)
    begin = np.flatnonzero(edges == 1)
    return begin, np.flatnonzero(edges == -1) - begin


def _habit(rows: JudgedPrices, begin: Ints, repeats: Ints) -> Floats:
    """[M] share of changed closes around each run that an unchanged one follows."""
    changed_R = np.abs(rows.log_returns) > SAME_CLOSE
    stalls_R = np.zeros(len(changed_R), np.bool_)
    stalls_R[1:] = changed_R[:-1] & rows.unchanged[1:]
    changes = np.concatenate([[0], np.cumsum(changed_R)])
    stalls = np.concatenate([[0], np.cumsum(stalls_R)])
    usual = max(stalls[-1], 1) / max(changes[-1], 1)
    stock = rows.stock_of(begin)
    start = np.maximum(begin - _ROWS_AROUND, rows.starts[stock])
    stop = np.minimum(begin + repeats + _ROWS_AROUND, rows.starts[stock + 1])
    changes_M = changes[stop] - changes[start]
    stalls_M = stalls[stop] - stalls[start] - stalls_R[begin]
    p_M: Floats = (stalls_M + usual * _PRIOR_ROWS) / (changes_M + _PRIOR_ROWS)
    return np.minimum(p_M, 0.99)


def _within_tick(rows: JudgedPrices, begin: Ints, repeats: Ints) -> Floats:
    """[M] chance that a walk of the stock's volatility stays within its tick for another row."""
    size_R = np.abs(rows.log_returns)
    change_R = np.where(size_R > SAME_CLOSE, np.abs(np.diff(rows.close_R, prepend=np.nan)), np.inf)
    parts = [np.empty(0)]
    for first in range(0, len(begin), _CHUNK):
        runs = slice(first, first + _CHUNK)
        row_M, last_M = begin[runs], begin[runs] + repeats[runs] - 1
        size_MW = _beside(rows, size_R, row_M, last_M)
        known_M = np.isfinite(size_MW).sum(axis=1)
        square_M = np.nansum(size_MW**2, axis=1) / np.maximum(known_M, 1)
        change_MW = np.nan_to_num(_beside(rows, change_R, row_M, last_M), nan=np.inf, posinf=np.inf)
        tick_M = change_MW.min(axis=1) / rows.close_R[row_M]
        parts.append(_staying(square_M / tick_M**2))
    return np.concatenate(parts)


def _beside(rows: JudgedPrices, value_R: Floats, row_M: Ints, last_M: Ints) -> Floats:
    """[M, W] values of the stock's rows before and after each run; NaN where it has no row."""
    before_MW = rows.around(value_R, row_M, range(-_ROWS_AROUND, 0))
    after_MW = rows.around(value_R, last_M, range(1, _ROWS_AROUND + 1))
    return np.concatenate([before_MW, after_MW], axis=1)


def _staying(square_M: Floats) -> Floats:
    """[M] chance per row from the mean square return in ticks; 0 where there is none."""
    # Rounding a walk of small steps σ gives single ticks, each with chance σ √(2/π).
    sigma_M = np.minimum(square_M * np.sqrt(np.pi / 2), np.sqrt(square_M))
    decay_M = np.exp(-((np.pi * sigma_M / (1 + _BARRIER_SHIFT * sigma_M)) ** 2) / 2)
    most_M = 1 / np.maximum(sigma_M * np.sqrt(2 * np.pi), 1)
    return np.where(sigma_M > 0, np.minimum(decay_M, most_M), 0.0)
