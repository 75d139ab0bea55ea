"""Runs of equal closes too long to be chance.

A stock at 30 whose tick is 1 closes unchanged every third day, and five equal closes in a row say
nothing; at 3,000 they do. Instead of asking for ticks, which adjusted prices no longer show, the
stock's own habit is taken: p, the share of changed closes that are followed by an unchanged one,
in the rows around. A run of L equal closes then has the chance p^(L − 1), and is suspicious below
MOST_LIKELY. (A run counts once in p, however long: a stale stock does not excuse itself.)
"""

from dataclasses import dataclass

import numpy as np

from atft_hpo.data.suspicious.price_rows import SAME_CLOSE, Floats, Ints, PriceRows

LEAST_ROWS = 5
"""Equal closes that make a run."""
MOST_LIKELY = 1e-6
"""Chance above which a run is natural."""
_ROWS_AROUND = 250
_PRIOR_ROWS = 10
"""The whole table's habit counts as much as so many rows of the stock."""


@dataclass(frozen=True)
class StaleRuns:
    """C runs, in the order of rows."""

    first_C: Ints
    """First row of each run."""
    rows_C: Ints
    """Its length: equal closes, the first included."""


def stale_runs(rows: PriceRows) -> StaleRuns:
    """Runs of at least LEAST_ROWS equal closes that the stock's own habit does not explain."""
    begin, repeats = _runs(rows)
    long = repeats >= LEAST_ROWS - 1
    begin, repeats = begin[long], repeats[long]
    log_chance = repeats * np.log(_habit(rows, begin, repeats))
    odd = log_chance <= np.log(MOST_LIKELY)
    return StaleRuns(begin[odd] - 1, repeats[odd] + 1)


def _runs(rows: PriceRows) -> tuple[Ints, Ints]:
    """First unchanged row of each run, and how many follow one another."""
    edges = np.diff(rows.unchanged.astype(np.int8), prepend=0, append=0)
    begin = np.flatnonzero(edges == 1)
    return begin, np.flatnonzero(edges == -1) - begin


def _habit(rows: PriceRows, begin: Ints, repeats: Ints) -> Floats:
    """p of each run, from the stock's rows around it, itself left out."""
    changed_R = np.abs(rows.log_returns) > SAME_CLOSE
    stalls_R = np.zeros(len(changed_R), np.bool_)
    stalls_R[1:] = changed_R[:-1] & rows.unchanged[1:]
    changes = np.concatenate([[0], np.cumsum(changed_R)])
    stalls = np.concatenate([[0], np.cumsum(stalls_R)])
    usual = max(stalls[-1], 1) / max(changes[-1], 1)
    stock = rows.stock_of(begin)
    start = np.maximum(begin - _ROWS_AROUND, rows.starts[stock])
    stop = np.minimum(begin + repeats + _ROWS_AROUND, rows.starts[stock + 1])
    changes_C = changes[stop] - changes[start]
    stalls_C = stalls[stop] - stalls[start] - stalls_R[begin]
    p_C: Floats = (stalls_C + usual * _PRIOR_ROWS) / (changes_C + _PRIOR_ROWS)
    return np.minimum(p_C, 0.99)
