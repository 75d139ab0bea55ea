"""Ceilings of the planted parts: what filters on the observable data can recover of each.

    python -m bench.planted.ceilings                       # a small market
    python -m bench.planted.ceilings --stocks 800 --days 1000 --json ceilings.json

See `attainable.py` for what a ceiling is.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atft_hpo.data.prepare import prepare_panel
from atft_hpo.data.synthetic.planted_parts import PART_SHARES
from atft_hpo.paths import Volume
from bench.planted.attainable import attainable, part_ceilings
from bench.planted.market import market_config


def main(
    stocks: Annotated[int, typer.Option(help="Stocks of the market.")] = 200,
    days: Annotated[int, typer.Option(help="Trading days.")] = 600,
    seed: Annotated[int, typer.Option(help="Seed of the market.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
) -> None:
    """Ceiling of each planted part of one market."""
    config = market_config(stocks, days, seed)
    with tempfile.TemporaryDirectory() as folder:
        ceilings = part_ceilings(prepare_panel(config.data, Volume(Path(folder))), config)
    best = attainable(PART_SHARES, ceilings)
    table = Table("part", "share", "ceiling (R²)", title=f"{stocks} stocks × {days} days")
    for part, ceiling in ceilings.items():
        table.add_row(part, f"{PART_SHARES[part]:.2f}", f"{ceiling:.3f}")
    table.add_row("attainable share of the oracle's IC", "", f"{best:.3f}")
    Console().print(table)
    if json_file:
        found = {"stocks": stocks, "days": days, "seed": seed, "ceilings": ceilings}
        json_file.write_text(json.dumps({**found, "attainable": best}, indent=2))


if __name__ == "__main__":
    typer.run(main)
