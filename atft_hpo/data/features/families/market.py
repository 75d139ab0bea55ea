"""Families that set a stock against the market or its sector: relative, beta.

Market and sector returns are means over the day's universe, see `benchmarks`. The regressions of
`beta` are of one-day log returns on the benchmark's, with a constant.
"""

from collections.abc import Callable

import numpy as np

from atft_hpo.data.features.families.excess import Excess
from atft_hpo.data.features.families.kind import Compute, Kind
from atft_hpo.data.features.families.price_history import History
from atft_hpo.data.features.families.trailing import Array, ratio

_REGRESSION = 20
"""Shortest window of a regression, in days."""
_Formula = Callable[[Excess, int], Array]


def _residual(x: Excess, w: int) -> Array:
    return ratio(x.residual(w), x.idiosyncratic(w) * np.sqrt(w))


def _lagged_beta(h: History, w: int) -> Array:
    return ratio(h.r.covariance(h.market_before, w), h.market_before.variance(w))


def _downside_beta(h: History, w: int) -> Array:
    return ratio(h.r.covariance(h.market_fall, w), h.market_fall.variance(w))


def _against_both(name: str, formula: str, compute: _Formula, least: int = 1) -> list[Kind]:
    """The same formula against the market (b = m) and against the sector (b = s)."""
    market: Compute = lambda h, w: compute(h.over_market, w)  # noqa: E731
    sector: Compute = lambda h, w: compute(h.over_sector, w)  # noqa: E731
    return [
        Kind(f"market_{name}", formula.replace("[b]", "m"), market, least),
        Kind(f"sector_{name}", formula.replace("[b]", "s"), sector, least, needs_sector=True),
    ]


RELATIVE = [
    *_against_both("excess", "Σ_{w} (r − [b])", lambda x, w: x.e.sum(w)),
    *_against_both("scaled", "mean_{w} (r − [b]) / std_{w} (r − [b])",
                   lambda x, w: ratio(x.e.mean(w), x.e.std(w)), least=10),
    *_against_both("wins", "share of days with r > [b] among {w} (equal counts ½)",
                   lambda x, w: x.win.mean(w), least=20),
]  # fmt: skip

BETA = [
    *_against_both("beta", "cov_{w}(r, [b]) / var_{w} [b]", lambda x, w: x.beta(w), _REGRESSION),
    *_against_both("idiosyncratic", "std_{w} r · √(1 − ρ²), ρ = correlation_{w}(r, [b])",
                   lambda x, w: x.idiosyncratic(w), _REGRESSION),
    *_against_both("r2", "ρ², ρ = correlation_{w}(r, [b])",
                   lambda x, w: x.correlation(w) ** 2, _REGRESSION),
    *_against_both("residual", "Σ_{w} (r − β_{w}·[b]) / (idiosyncratic_{w}·√{w})",
                   _residual, _REGRESSION),
    Kind("market_lagged_beta", "cov_{w}(r[t], m[t−1]) / var_{w} m[t−1]", _lagged_beta, least=60),
    Kind("market_downside_beta", "cov_{w}(r, min(m, 0)) / var_{w} min(m, 0)",
         _downside_beta, least=60),
]  # fmt: skip
