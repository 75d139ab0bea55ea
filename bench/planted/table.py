"""The planted benchmark in a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from bench.measuring.console import wide_console


def print_report(report: Mapping[str, Any]) -> None:
    """Shares by variant and by phase, then the targets."""
    out = wide_console()
    parts = list(report["ceilings"])
    for title, rows in _tables(report):
        table = Table("", "total", *parts, title=title, title_justify="left")
        for name, share in rows:
            table.add_row(name, _cell(share, "total"), *(_cell(share, part) for part in parts))
        out.print(table)
    ceilings = Table("", *parts, title="ceilings (R²)", title_justify="left")
    ceilings.add_row("", *(f"{report['ceilings'][part]:.3f}" for part in parts))
    out.print(ceilings)
    goals = Table("target", "found", "asked", "", title="targets", title_justify="left")
    for target in report["targets"]:
        sign = "reached" if target["reached"] else "missed"
        goals.add_row(target["name"], f"{target['found']:.3f}", target["asked"], sign)
    out.print(goals)
    samples, seconds = report["training_samples"], report["seconds"]
    out.print(f"{samples:,} training samples, {seconds / 60:.1f} minutes")


def _tables(report: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    variants = report["variants"]
    ends = [(name, found["share_of_attainable"]) for name, found in variants.items()]
    tables = [("share of the attainable, at the end", ends)]
    if "full" in variants:
        phases = list(variants["full"]["after"].items())
        tables.insert(0, ("full model, after each phase", phases))
    return tables


def _cell(share: Mapping[str, Any], part: str) -> str:
    if part == "total":
        value, error = share["total"], share["total_standard_error"]
    else:
        value, error = share["parts"][part], share["parts_standard_error"][part]
    return f"{value:.2f}" if error is None else f"{value:.2f} ± {error:.2f}"
