"""Family `liquidity`: volume, traded value and price impact.

None moves with the scale of a stock's prices or of its volume, which later splits and dividends
decide: volume enters in ratios and differences of logarithms, money as the traded value of the
day. Source of the impact: Amihud (2002), here relative to the stock's own over 120 days.
"""

from atft_hpo.data.features.families.kind import Kind
from atft_hpo.data.features.families.price_history import History
from atft_hpo.data.features.families.trailing import Array, log, ratio

_IMPACT_BASE = 120


def _impact(h: History, w: int) -> Array:
    return ratio(h.size.sum(w), h.money.sum(w))


def _log_ratio(a_NT: Array, b_NT: Array) -> Array:
    return log(ratio(a_NT, b_NT))


LIQUIDITY = [
    Kind("volume_ratio", "ln(V / mean_{w} V)",
         lambda h, w: _log_ratio(h.volume.x, h.volume.mean(w)), least=5),
    Kind("volume_trend", "ln(mean_⌊{w}/4⌋ V / mean_{w} V)",
         lambda h, w: _log_ratio(h.volume.mean(w // 4), h.volume.mean(w)), least=10),
    Kind("turnover_surprise", "(v − mean_{w} v) / std_{w} v",
         lambda h, w: ratio(h.log_volume.x - h.log_volume.mean(w), h.log_volume.std(w)), least=10),
    Kind("volume_volatility", "std_{w} of v[t] − v[t−1]",
         lambda h, w: h.volume_change.std(w), least=10),
    Kind("amihud", "ln((Σ_{w} |r| / Σ_{w} M) / (Σ₁₂₀ |r| / Σ₁₂₀ M))",
         lambda h, w: _log_ratio(_impact(h, w), _impact(h, _IMPACT_BASE)), least=5, most=60),
    Kind("return_volume", "correlation of r and v over {w} days",
         lambda h, w: h.r.correlation(h.log_volume, w), least=20),
    Kind("size_volume", "correlation of |r| and v over {w} days",
         lambda h, w: h.size.correlation(h.log_volume, w), least=20),
    Kind("balance", "Σ_{w} sign(r)·V / Σ_{w} V",
         lambda h, w: ratio(h.signed_volume.sum(w), h.volume.sum(w)), least=10),
    Kind("money_flow", "Σ_{w} V·(2c − h − l)/(h − l) / Σ_{w} V",
         lambda h, w: ratio(h.money_flow.sum(w), h.ranged_volume.sum(w)), least=10),
    Kind("over_vwap", "ln(C·Σ_{w} V / Σ_{w} V·C)",
         lambda h, w: _log_ratio(h.block.close_NT * h.volume.sum(w), h.weighted_price.sum(w)),
         least=10),
    Kind("log_dollar_volume", "ln mean_{w} M", lambda h, w: log(h.money.mean(w)), least=20),
]  # fmt: skip
