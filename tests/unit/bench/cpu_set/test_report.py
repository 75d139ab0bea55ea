"""The table holds every figure and every failure, and no figure for a failure."""

import dataclasses
import json
from pathlib import Path

from bench.cpu_set.parts import Outcome
from bench.cpu_set.report import machine, markdown, write_report

WHERE = {
    "date": "2026-01-01 00:00 UTC", "cpu": "a CPU", "cores": 2, "memory_gib": 8.0,
    "load_before": 0.1, "versions": {"python": "3.11", "torch": "2.9"},
}  # fmt: skip


def failed(outcome: Outcome, error: str) -> Outcome:
    """The same part, without a result."""
    return dataclasses.replace(outcome, result=None, error=error)


def row_of(table: str, words: str) -> list[str]:
    """Cells of the one row that has these words."""
    (line,) = [line for line in table.splitlines() if words in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_has_figure_bound_verdict_and_command(outcomes: dict[str, Outcome]) -> None:
    table = markdown(WHERE, outcomes)
    assert row_of(table, "per trial-epoch") == [
        "The search", "per trial-epoch after 2,000 trials of 42 epochs", "25.0 ms", "≤ 20.0 ms",
        "**missed**", "`python -m bench.search` (10 s)",
    ]  # fmt: skip
    assert row_of(table, "longest")[2:5] == ["0.90 s", "≤ 3.00 s", "reached"]
    assert "a CPU, 2 core(s), 8.0 GiB" in table
    assert "python 3.11, torch 2.9" in table
    assert all(outcome.part.command in table for outcome in outcomes.values())


def test_a_failed_part_is_a_row_without_a_figure(outcomes: dict[str, Outcome]) -> None:
    outcomes["search"] = failed(outcomes["search"], "OSError: no a|b left")
    table = markdown(WHERE, outcomes)
    (line,) = [line for line in table.splitlines() if line.startswith("| The search")]
    assert "failed: OSError: no a\\|b left" in line
    assert "ms" not in line
    assert "reached" not in line
    assert "missed" not in line
    assert row_of(table, "longest")[4] == "reached"


def test_everything_is_written(outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    outcomes["pruner"] = failed(outcomes["pruner"], "KeyError: 'x'")
    results, table, drawn = write_report(tmp_path / "cpu", WHERE, outcomes)
    parts = json.loads(results.read_text())["parts"]
    assert parts["search"]["result"]["trials"] == 2000
    assert parts["search"]["error"] is None
    assert parts["pruner"] == {
        "command": "python -m bench.pruner", "seconds": 10.0, "error": "KeyError: 'x'",
        "result": None,
    }  # fmt: skip
    assert table.read_text() == markdown(WHERE, outcomes)
    page = drawn.read_text()
    assert "Slices train 30 and 20 times as many samples per second as windows." in page
    assert "The search costs 25.0 ms per trial-epoch." in page


def test_the_machine_is_told() -> None:
    found = machine()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert {"atft-hpo", "python", "torch"} <= set(found["versions"])
