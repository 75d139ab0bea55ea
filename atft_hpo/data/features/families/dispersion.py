"""Families of price dispersion: volatility (from closes and from the day's range) and range.

Sources: Parkinson (1980); Garman & Klass (1980); Rogers & Satchell (1991); Yang & Zhang (2000),
eq. 13 with α = 1.34; Wilder (1978) for the true range.
"""

import numpy as np

from atft_hpo.data.features.families.kind import Kind
from atft_hpo.data.features.families.price_history import History
from atft_hpo.data.features.families.trailing import Array, ratio


def _parkinson(h: History, w: int) -> Array:
    return np.asarray(np.sqrt(h.spread_square.mean(w) / (4 * np.log(2))))


def _rogers_satchell(h: History, w: int) -> Array:
    return np.sqrt(np.maximum(h.rogers_satchell.mean(w), 0.0))


def _yang_zhang(h: History, w: int) -> Array:
    k = 0.34 / (1.34 + (w + 1) / (w - 1))
    return np.sqrt(
        h.overnight.std(w) ** 2
        + k * h.intraday.std(w) ** 2
        + (1 - k) * np.maximum(h.rogers_satchell.mean(w), 0.0)
    )


def _downside(h: History, w: int) -> Array:
    return np.sqrt(h.fall_square.mean(w))


VOLATILITY = [
    Kind("std", "std_{w} r", lambda h, w: h.r.std(w), least=5),
    Kind("parkinson", "√(mean_{w} (h − l)² / (4 ln 2))", _parkinson, least=5),
    Kind("garman_klass", "√(mean_{w} (½(h−l)² − (2 ln 2 − 1)(c−o)²))",
         lambda h, w: np.sqrt(np.maximum(h.garman_klass.mean(w), 0.0)), least=10),
    Kind("rogers_satchell", "√(mean_{w} ((h−o)(h−c) + (l−o)(l−c)))", _rogers_satchell, least=10),
    Kind("yang_zhang", "√(var_{w} overnight + k·var_{w} intraday + (1−k)·rogers_satchell_{w}²), "
         "k = .34/(1.34 + ({w}+1)/({w}−1))", _yang_zhang, least=10),
    Kind("downside", "√(mean_{w} min(r, 0)²)", _downside, least=10),
    Kind("downside_share", "mean_{w} min(r, 0)² / mean_{w} r²",
         lambda h, w: ratio(h.fall_square.sum(w), h.r_square.sum(w)), least=20),
    Kind("of_volatility", "std_{w} of std₅ r / mean_{w} of std₅ r",
         lambda h, w: ratio(h.vol_5d.std(w), h.vol_5d.mean(w)), least=10),
    Kind("ratio", "std₅ r / std_{w} r", lambda h, w: ratio(h.vol_5d.x, h.r.std(w)), least=10),
    Kind("range_ratio", "parkinson_{w} / std_{w} r",
         lambda h, w: ratio(_parkinson(h, w), h.r.std(w)), least=20),
    Kind("overnight_share", "Σ_{w} overnight² / (Σ_{w} overnight² + Σ_{w} intraday²)",
         lambda h, w: ratio(h.overnight_square.sum(w),
                            h.overnight_square.sum(w) + h.intraday_square.sum(w)), least=20),
]  # fmt: skip


def _rows_since_high(h: History, w: int) -> Array:
    return h.spread.where_known(h.top.rows_since_max(w), w) / w


def _rows_since_low(h: History, w: int) -> Array:
    return h.spread.where_known(h.bottom.rows_since_min(w), w) / w


RANGE = [
    Kind("width", "max_{w} h − min_{w} l", lambda h, w: h.highest(w) - h.lowest(w), least=5),
    Kind("position", "(c − min_{w} l) / (max_{w} h − min_{w} l)",
         lambda h, w: ratio(h.c.x - h.lowest(w), h.highest(w) - h.lowest(w)), least=5),
    Kind("below_high", "c − max_{w} h", lambda h, w: h.c.x - h.highest(w), least=5),
    Kind("above_low", "c − min_{w} l", lambda h, w: h.c.x - h.lowest(w), least=5),
    Kind("since_high", "days since max_{w} h / {w}", _rows_since_high, least=5),
    Kind("since_low", "days since min_{w} l / {w}", _rows_since_low, least=5),
    Kind("true_range", "mean_{w} (max(h, c[t−1]) − min(l, c[t−1]))",
         lambda h, w: h.true_range.mean(w), least=5),
    Kind("widening", "(h − l) / mean_{w} (h − l)",
         lambda h, w: ratio(h.spread.x, h.spread.mean(w)), least=20),
    Kind("upper_shadow", "(h − max(o, c)) / (h − l)",
         lambda h, _: ratio(h.hi.x - np.maximum(h.o.x, h.c.x), h.spread.x), fixed=()),
    Kind("lower_shadow", "(min(o, c) − l) / (h − l)",
         lambda h, _: ratio(np.minimum(h.o.x, h.c.x) - h.lo.x, h.spread.x), fixed=()),
    Kind("body", "(c − o) / (h − l)", lambda h, _: ratio(h.intraday.x, h.spread.x), fixed=()),
]  # fmt: skip
