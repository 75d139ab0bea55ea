"""Family `ranks`: percentile among the day's universe of key quantities of other families.

(rank − ½) / n, ties averaged, n = stocks of the universe that have the quantity that day. A stock
outside the universe gets the percentile of a member of the same value, and moves nobody else's.
None of the quantities depends on the scale of prices or volumes.
"""

from dataclasses import replace

from atft_hpo.data.features.families.dispersion import RANGE, VOLATILITY
from atft_hpo.data.features.families.kind import Kind
from atft_hpo.data.features.families.market import BETA
from atft_hpo.data.features.families.price import MOMENTUM, RETURNS, REVERSAL
from atft_hpo.data.features.families.volume import LIQUIDITY


def _rank_of(
    family: list[Kind], name: str, least: int | None = None, most: int | None = None
) -> Kind:
    kind = next(kind for kind in family if kind.name == name)
    return replace(
        kind,
        formula=f"percentile among the day's universe of: {kind.formula}",
        least=kind.least if least is None else least,
        most=kind.most if most is None else most,
        ranked=True,
    )


RANKS = [
    _rank_of(RETURNS, "log"),
    _rank_of(VOLATILITY, "std", least=20),
    _rank_of(RANGE, "position", least=20),
    _rank_of(RANGE, "below_high", least=60),
    _rank_of(LIQUIDITY, "volume_ratio", least=20, most=60),
    _rank_of(LIQUIDITY, "amihud", least=20, most=20),
    _rank_of(LIQUIDITY, "balance", least=20, most=20),
    _rank_of(MOMENTUM, "skip_month", least=60),
    _rank_of(MOMENTUM, "rsi", least=10, most=10),
    _rank_of(REVERSAL, "max", least=20, most=20),
    _rank_of(BETA, "market_beta", least=60),
    _rank_of(BETA, "market_idiosyncratic", least=60, most=60),
]
