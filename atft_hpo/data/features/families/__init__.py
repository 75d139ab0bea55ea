"""Feature families and the one documented order of their columns."""

from collections.abc import Sequence

from atft_hpo.config.data_schema import FeaturesConfig
from atft_hpo.config.toml import nearest
from atft_hpo.data.features.families.calendar import CALENDAR
from atft_hpo.data.features.families.dispersion import RANGE, VOLATILITY
from atft_hpo.data.features.families.kind import Feature, Kind, interleave, order_of_family
from atft_hpo.data.features.families.market import BETA, RELATIVE
from atft_hpo.data.features.families.price import MOMENTUM, RETURNS, REVERSAL
from atft_hpo.data.features.families.ranks import RANKS
from atft_hpo.data.features.families.volume import LIQUIDITY
from atft_hpo.errors import ConfigError

FAMILIES: dict[str, Sequence[Kind]] = {
    "returns": RETURNS,
    "momentum": MOMENTUM,
    "volatility": VOLATILITY,
    "range": RANGE,
    "liquidity": LIQUIDITY,
    "reversal": REVERSAL,
    "relative": RELATIVE,
    "beta": BETA,
    "ranks": RANKS,
    "calendar": CALENDAR,
}


def features_of(config: FeaturesConfig, with_sector: bool = True) -> list[Feature]:
    """The columns to build, in the documented order; without a sector fewer.

    Raises:
        ConfigError: an unknown or repeated family, or no feature is left.
    """
    for name in config.families:
        if name not in FAMILIES:
            raise ConfigError(
                f"data.features.families has {name!r}: {nearest(name, [*FAMILIES], 'families')}"
            )
    if len(set(config.families)) < len(config.families):
        raise ConfigError(f"data.features.families names a family twice: {list(config.families)}")
    families = [_family(name, config, with_sector) for name in config.families]
    if not any(families):
        raise ConfigError(
            f"data.features leaves no feature: families {list(config.families)} with windows_days "
            f"{list(config.windows_days)}; give a family, and windows it can use"
        )
    return interleave(families)[: config.limit]


def _family(name: str, config: FeaturesConfig, with_sector: bool) -> list[Feature]:
    kinds = [kind for kind in FAMILIES[name] if with_sector or not kind.needs_sector]
    return order_of_family(name, kinds, config.windows_days)
