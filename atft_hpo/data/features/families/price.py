"""Families of close-to-close prices: returns, momentum, reversal."""

import numpy as np

from atft_hpo.data.features.families.kind import Kind
from atft_hpo.data.features.families.price_history import History
from atft_hpo.data.features.families.trailing import Array, Trailing, ratio

_LAGS = tuple(range(1, 11))
_SKIP = 20


def _macd(h: History, w: int) -> Array:
    return ratio(h.c.ema(w // 2) - h.c.ema(w), h.risk(w))


def _macd_histogram(h: History, w: int) -> Array:
    line = h.c.ema(w // 2) - h.c.ema(w)
    signal = Trailing(line[:, w - 1 :]).ema(max(w // 3, 2))
    out = np.full_like(line, np.nan)
    out[:, w - 1 :] = line[:, w - 1 :] - signal
    return ratio(out, h.risk(w))


RETURNS = [
    Kind("log", "c[t] − c[t−{w}]", lambda h, w: h.c.change(w)),
    Kind("overnight", "Σ_{w} (o[t] − c[t−1])", lambda h, w: h.overnight.sum(w)),
    Kind("intraday", "Σ_{w} (c − o)", lambda h, w: h.intraday.sum(w), most=20),
    Kind("lag", "r[t−{w}]", lambda h, w: h.r.lag(w), fixed=_LAGS),
]

MOMENTUM = [
    Kind("skip_month", "c[t−20] − c[t−20−{w}]",
         lambda h, w: h.c.lag(_SKIP) - h.c.lag(_SKIP + w), least=20),
    Kind("over_mean", "c − mean_{w} c", lambda h, w: h.c.x - h.c.mean(w), least=5),
    Kind("cross", "mean_⌊{w}/4⌋ c − mean_{w} c",
         lambda h, w: h.c.mean(w // 4) - h.c.mean(w), least=10),
    Kind("macd", "(ema_⌊{w}/2⌋ c − ema_{w} c) / (σ₂₀·√{w})", _macd, least=10),
    Kind("macd_histogram", "(line − ema_⌊{w}/3⌋ line) / (σ₂₀·√{w}), "
         "line = ema_⌊{w}/2⌋ c − ema_{w} c", _macd_histogram, least=20),
    Kind("slope", "least-squares slope of c on time over {w} days",
         lambda h, w: h.c.slope(w), least=20),
    Kind("trend", "correlation of c with time over {w} days (its square is R²)",
         lambda h, w: h.c.time_correlation(w), least=20),
    Kind("rsi", "Σ_{w} max(r, 0) / Σ_{w} |r|",
         lambda h, w: ratio(h.rise.sum(w), h.size.sum(w)), least=5),
    Kind("acceleration", "(c[t] − c[t−{w}]) − (c[t−{w}] − c[t−2·{w}])",
         lambda h, w: h.c.x - 2 * h.c.lag(w) + h.c.lag(2 * w), least=5, most=60),
    Kind("per_risk", "mean_{w} r / std_{w} r", lambda h, w: ratio(h.r.mean(w), h.r.std(w)),
         least=5),
    Kind("up_share", "share of days with r > 0 among {w} (r = 0 counts ½)",
         lambda h, w: h.up.mean(w), least=10),
    Kind("efficiency", "|c[t] − c[t−{w}]| / Σ_{w} |r|",
         lambda h, w: ratio(np.abs(h.r.sum(w)), h.size.sum(w)), least=10),
]  # fmt: skip

REVERSAL = [
    Kind("scaled", "−(c[t] − c[t−{w}]) / (σ₂₀·√{w})",
         lambda h, w: ratio(-h.c.change(w), h.risk(w)), most=20),
    Kind("max", "max_{w} r", lambda h, w: h.r.max(w), least=5),
    Kind("min", "min_{w} r", lambda h, w: h.r.min(w), least=5),
    Kind("skewness", "skewness of r over {w} days", lambda h, w: h.r.skewness(w), least=10),
    Kind("kurtosis", "kurtosis of r over {w} days", lambda h, w: h.r.kurtosis(w), least=60),
    Kind("autocorrelation", "correlation of r[t] and r[t−1] over {w} days",
         lambda h, w: h.r.correlation(h.r_before, w), least=60),
    Kind("surprise", "(r − mean_{w} r) / std_{w} r",
         lambda h, w: ratio(h.r.x - h.r.mean(w), h.r.std(w)), least=20),
    Kind("band", "(c − mean_{w} c) / std_{w} c",
         lambda h, w: ratio(h.c.x - h.c.mean(w), h.c.std(w)), least=20),
]  # fmt: skip
