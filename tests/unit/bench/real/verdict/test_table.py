"""Tables and markdown of a result."""

import io

from rich.console import Console

from bench.real.verdict.table import markdown, tables


def test_tables_and_markdown_show_the_same_rows(result):
    console = Console(width=160, record=True, file=io.StringIO())
    for table in tables(result):
        console.print(table)
    shown, text = console.export_text(), markdown(result)
    for word in ("ridge", "random", "pure RankIC (t)", "1 day ahead", "5 days ahead"):
        assert word in shown
        assert word in text
    ridge = result["horizons"]["1"]["models"]["ridge"]["rank_ic"]
    cell = f"{abs(ridge):.4f}"[1:]
    assert cell in shown
    assert cell in text
