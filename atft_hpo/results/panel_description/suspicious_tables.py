"""Suspicious prices as a table for a terminal of 80 columns, with the worst of each kind."""

from collections.abc import Callable

from rich.table import Column, Table
from rich.text import Text

from atft_hpo.data.suspicious.findings import Example, Finding, SuspiciousPrices
from atft_hpo.results.console import number_columns

_SHOWN = 3
"""Of the worst of each kind; the rest is in the JSON."""
_TREATMENT = {
    "keep": "Labels over reversed returns and unadjusted splits are kept: adjust the prices, or "
    'set data.suspicious_prices = "mask_label".',
    "mask_label": "Labels and daily returns over reversed returns and unadjusted splits are left "
    "out (data.suspicious_prices).",
}


def suspicious_tables(found: SuspiciousPrices | None, treatment: str) -> list[Table | Text]:
    """Kinds with their counts, and what the panel does about them; one line where all is well."""
    if found is None:
        return [Text("Suspicious prices: not looked for, the table has no closes.")]
    rows = [row for row in _rows(found) if row[1].count]
    if not rows:
        return [Text("No suspicious prices.", style="green")]
    table = Table(
        "kind",
        *number_columns("count", "share"),
        Column("worst", no_wrap=True),
        title="suspicious prices",
    )
    for name, finding, lines in rows:
        table.add_row(name, f"{finding.count:,}", _share(finding.share), Text("\n".join(lines)))
    wrong = found.reversals.count + found.unadjusted_splits.count
    return [table, Text(_TREATMENT[treatment])] if wrong else [table]


def _rows(found: SuspiciousPrices) -> list[tuple[str, Finding, list[str]]]:
    kinds: list[tuple[str, Finding | None, Callable[[Example], str]]] = [
        ("reversed next day", found.reversals, _return),
        ("unadjusted split", found.unadjusted_splits, _return),
        ("other extreme return", found.extreme_returns, _return),
        ("most stocks missing", found.thin_days, _day),
        ("stale closes", found.stale_runs, _run),
        ("changed at volume 0", found.untraded_changes, _return),
    ]
    rows = []
    for name, finding, line in kinds:
        if finding is not None:
            together = _split_days(found) if finding is found.unadjusted_splits else []
            rows.append((name, finding, [*together, *map(line, finding.worst[:_SHOWN])]))
    return rows


def _split_days(found: SuspiciousPrices) -> list[str]:
    """Days on which several stocks split by one ratio."""
    several = [day for day in found.split_days if day.count > 1]
    return [f"{day.date}: {day.count:,} stocks {day.ratio}" for day in several[:_SHOWN]]


def _return(example: Example) -> str:
    times = 1 + example.size
    change = f"{example.size:+.1%}" if times < 10 else f"×{times:.3g}"
    return f"{example.date} {example.code} {change} {example.note}".rstrip()


def _day(example: Example) -> str:
    return f"{example.date} {example.size:.0%}, {example.note}"


def _run(example: Example) -> str:
    return f"{example.date} {example.code} {example.size:.0f} rows"


def _share(share: float) -> str:
    return f"{share:.2%}" if share >= 1e-4 else f"{share:.0e}"
