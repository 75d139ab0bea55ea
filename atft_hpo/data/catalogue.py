"""Which features there are: names, families and formulas, in the order of the output's columns.

for doc in catalogue(config.data.features): print(doc.name, doc.formula)
Path("docs/features.md").write_text(catalogue_markdown(FeaturesConfig()))
"""

from dataclasses import dataclass

from atft_hpo.config.data_schema import FeaturesConfig
from atft_hpo.data.families import FAMILIES, features_of
from atft_hpo.data.families.kind import Feature

_LEGEND = """\
Generated from the code by `catalogue_markdown` in `atft_hpo/data/catalogue.py`; do not edit.

`atft-hpo panel features` builds these columns from daily open, high, low, close and volume.
Each reads days up to its own only. Windows run over a stock's own rows, and a feature is null until
its window is full or where it would be 0/0. Nothing is infinite. Nothing is normalised yet: the
panel store does that, per day.

| symbol | meaning |
| --- | --- |
| `C`, `V` | adjusted close, volume |
| `o`, `h`, `l`, `c` | logarithms of the adjusted prices |
| `r` | `c[t] − c[t−1]`; without index, everything is at day t |
| `overnight`, `intraday` | `o[t] − c[t−1]`, `c − o` |
| `m`, `s` | mean `r` of the day's universe, of the stock's sector in it |
| `Σ_w`, `mean_w`, `std_w`, … | over the last w rows, today's included; `std` with w − 1 |
| `ema_w` | exponential average with weight 2/(w + 1), begun at the stock's first row |
| `σ₂₀` | `std₂₀ r` |
| † | only with a sector column |

Multiplying a stock's whole price history by a number changes no feature but
`liquidity__log_dollar_volume_*`. The universe is the rows where the universe column is true, or
all rows.
"""


@dataclass(frozen=True)
class FeatureDoc:
    """One column of the output."""

    name: str
    family: str
    formula: str


def catalogue(config: FeaturesConfig, with_sector: bool = True) -> list[FeatureDoc]:
    """The columns in the documented order; `with_sector`: the prices come with a sector column.

    Raises:
        ConfigError: an unknown family, or no feature is left.
    """
    features = features_of(config, with_sector)
    return [FeatureDoc(f.name, f.family, f.formula) for f in features]


def catalogue_markdown(config: FeaturesConfig) -> str:
    """The page docs/features.md: symbols, formulas by family, and all columns in order."""
    features = features_of(config)
    without = len(features_of(config, with_sector=False))
    sections = [
        f"# Features\n\n{_LEGEND}",
        f"{len(features)} columns with a sector column, {without} without.\n",
        *(_family_section(name, features) for name in config.families),
        _order_section(features),
    ]
    return "\n".join(sections)


def _family_section(family: str, features: list[Feature]) -> str:
    own = [feature for feature in features if feature.family == family]
    lines = [f"## {family} ({len(own)})\n", "| feature | formula | w |", "| --- | --- | --- |"]
    for kind in FAMILIES[family]:
        windows = sorted(feature.window for feature in own if feature.kind is kind)
        if windows:
            suffix = "_*w*d" if windows[0] else ""
            mark = " †" if kind.needs_sector else ""
            formula = kind.formula.format(w="w").replace("|", "\\|")
            listed = ", ".join(str(w) for w in windows if w)
            lines.append(f"| {kind.name}{suffix}{mark} | {formula} | {listed} |")
    return "\n".join(lines) + "\n"


def _order_section(features: list[Feature]) -> str:
    names = "\n".join(f"{i}. {feature.name}" for i, feature in enumerate(features, start=1))
    return (
        "## Order\n\nThe order of the columns, of which `data.features.limit` keeps the first:\n"
        "families in proportion to their sizes and, within a family, every formula at one window\n"
        "before a second. Without a sector column the list is shorter, and merged anew.\n\n"
        f"{names}\n"
    )
