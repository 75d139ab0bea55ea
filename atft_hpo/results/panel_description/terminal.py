"""A panel's description as tables for a terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from atft_hpo.results.console import number_columns
from atft_hpo.results.panel_description.describe import (
    LEAK_RANK_IC,
    LEAK_SHIFT,
    LEAK_T,
    FeatureStatistics,
    PanelDescription,
)
from atft_hpo.results.panel_description.suspicious_tables import suspicious_tables


def description_tables(description: PanelDescription, features: int = 15) -> Group:
    """Facts, labels, the `features` strongest features, suspicious prices, and the leak alarm."""
    strongest = _features(description.features[:features], f"strongest of {_count(description)}")
    suspicious = suspicious_tables(description.suspicious_prices, description.suspicious_labels)
    tables = (_facts(description), _labels(description), strongest)
    return Group(*tables, *suspicious, *_alarm(description))


def _count(description: PanelDescription) -> str:
    return f"{len(description.features)} features"


def _facts(description: PanelDescription) -> Table:
    table = Table(title="panel", show_header=False)
    low, median, high = description.stocks_per_day
    families = ", ".join(f"{name} {count}" for name, count in sorted(description.families.items()))
    rows = {
        "days": f"{description.days} ({description.first_date} … {description.last_date})",
        "described": f"{description.days_described} days (train and validation only)",
        "stocks": f"{description.stocks}, per day {low} / {median} / {high} (least, median, most)",
        "coverage": f"{description.coverage:.1%} of cells alive",
        "sectors": str(description.sectors),
        "features": f"{len(description.features)}: {families}",
        "dropped": ", ".join(description.dropped_columns) or "none",
    }
    if (found := description.adjustment) is not None:
        rows["adjustment"] = (
            f"close {found['close']}, volume {found['volume']}, {found['splits']:,} splits; "
            f"traded value: {found['traded_value']}"
        )
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _labels(description: PanelDescription) -> Table:
    heads = ("horizon", "count", "coverage", "mean", "std")
    table = Table(*number_columns(*heads), title="labels (raw returns)")
    for label in description.labels:
        table.add_row(
            f"{label.horizon_days} d",
            f"{label.count:,}",
            f"{label.coverage:.1%}",
            f"{label.mean:+.4%}",
            f"{label.std:.3%}",
        )
    return table


def _features(features: tuple[FeatureStatistics, ...], title: str) -> Table:
    table = Table("feature", *number_columns("missing", "horizon", "RankIC", "t"), title=title)
    for feature in features:
        table.add_row(
            Text(feature.name, style="bold red" if feature.leak else ""),
            f"{feature.missing_share:.1%}",
            f"{feature.horizon_days} d",
            f"{feature.rank_ic:+.4f}",
            f"{feature.t:+.1f}",
        )
    return table


def _alarm(description: PanelDescription) -> list[Text]:
    bound = f"|mean RankIC| > {LEAK_RANK_IC:g} and |t| > {LEAK_T:g}"
    notes = []
    if description.residual:
        notes.append(
            Text("Synthetic market: RankIC is with the return its true forecast leaves over.")
        )
    since = description.factors_withheld_since
    withheld = f"splits and dividends since {since} are withheld"
    if since is None and not description.residual:
        notes.append(
            Text(
                "Not tested: whether features know of later splits: none is known of the last year."
            )
        )
    if not description.leaks:
        told = f"No leak alarm: no feature has {bound}"
        more = f", and none changes when {withheld}" if since else ""
        return [*notes, Text(f"{told}{more}.", style="green")]
    foretelling = ", ".join(leak.name for leak in description.leaks if leak.foretells)
    adjusted = ", ".join(leak.name for leak in description.leaks if leak.knows_adjustment)
    if foretelling:
        notes.append(
            _warning(
                f"LEAK ALARM: {foretelling} ({bound}). Honest features do not reach this: look "
                "for the future in how they are computed, or remove them."
            )
        )
    if adjusted:
        notes.append(
            _warning(
                f"LEAK ALARM: {adjusted} rank stocks differently on earlier days when {withheld} "
                f"(percentiles move by more than {LEAK_SHIFT:g}). Adjusted prices and volume have "
                "a scale that the future decides: use ratios, or the traded value of the day."
            )
        )
    return notes


def _warning(text: str) -> Text:
    return Text(text, style="bold red")
