"""Tables and markdown of a result."""

import io

from rich.console import Console

from bench.real.verdict.table import markdown, tables, verdict_lines


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


def pair(pure, t):
    return {"pure_rank_ic": {"mean": pure, "t": t}, "rank_ic": {"mean": -pure, "t": -t}}


def test_the_verdict_says_what_the_net_adds_and_who_is_in_the_panel():
    one = {
        "best_rival": "lightgbm_plus",
        "paired": {"own_trees": pair(0.0003, 0.44), "lightgbm_plus": pair(-0.0012, -2.5)},
    }
    result = {
        "reference": "full", "horizons": {"1": one}, "stocks": 469, "departures": (5, 0.0021),
        "targets": {"a": True, "b": False, "c": None},
    }  # fmt: skip
    assert verdict_lines(result) == [
        "1 day ahead, neighbours and net add to its own trees: "
        "pure RankIC .0003 (.4), RankIC −.0003 (−.4)",
        "1 day ahead, full over lightgbm_plus, its best rival, by pure RankIC on these days: "
        "pure RankIC −.0012 (−2.5), RankIC .0012 (2.5)",
        "survivors only, or nearly: 5 of 469 stocks (0.2% a year) are gone before the panel ends, "
        "so that hardly anybody met a delisting; returns are too good by what this panel cannot "
        "tell",
        "a: reached",
        "b: MISSED",
        "c: not measured",
    ]
    other = result | {"reference": "ridge", "departures": (60, 0.031), "targets": {}}
    assert verdict_lines(other) == ["60 of 469 stocks (3.1% a year) are gone before the panel ends"]
