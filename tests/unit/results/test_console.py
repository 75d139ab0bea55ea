"""Lines and tables that are never cut off."""

import io

from rich.console import Console
from rich.table import Column, Table

from atft_hpo.results.console import print_whole, say


def test_a_command_stays_on_its_line() -> None:
    console = Console(width=20, file=io.StringIO())
    line = "    .venv/bin/atft-hpo train [bold]x[/bold].toml --device cpu"
    say(console, line)
    assert console.file.getvalue() == line + "\n"  # type: ignore[attr-defined]


def test_a_table_keeps_its_numbers_on_a_narrow_terminal() -> None:
    table = Table("name", Column("value", justify="right"), box=None)
    table.add_row("a name of many letters", "-0.12345678")
    console = Console(width=20, file=io.StringIO())
    print_whole(console, table)
    assert "a name of many letters  -0.12345678" in console.file.getvalue()  # type: ignore[attr-defined]
