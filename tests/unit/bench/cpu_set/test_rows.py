"""Rows hold the bounds that the programs have."""

from typing import Any

from bench.cpu_set.parts import PARTS
from bench.cpu_set.rows import rows_of


def test_bounds_hold_where_they_are_asked(results: dict[str, Any]) -> None:
    rows = rows_of("step", results["step"])
    ratios = [row for row in rows if row.measured == "… ratio"]
    assert [row.reached for row in ratios] == [True, False]
    peaks = [row for row in rows if "memory" in row.measured]
    assert [row.asked for row in peaks] == ["≤ 4.00 GiB", ""]
    assert [row.reached for row in rows_of("validation", results["validation"])] == [True, False]


def test_every_part_has_rows(results: dict[str, Any]) -> None:
    for name in PARTS:
        assert rows_of(name, results[name])
