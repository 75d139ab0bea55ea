"""What the CPU set leaves behind: results.json, table.md and plots.html in one folder.

    write_report(folder, machine(), outcomes)

A part that failed is a row that says so; it has no figure.
"""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

import atft_hpo
from atft_hpo.files import write_atomically
from atft_hpo.results.run_summary.hardware import GIB, HardwareMonitor
from atft_hpo.results.study_report.page import write_page
from bench.cpu_set.parts import Outcome
from bench.cpu_set.plots import plates
from bench.cpu_set.rows import Row, rows_of

RESULTS, TABLE, PLOTS = "results.json", "table.md", "plots.html"
LIBRARIES = ("torch", "numpy", "polars", "pyarrow", "optuna", "sqlalchemy")
HEAD = ("", "measured", "figure", "asked", "", "command")


def machine() -> dict[str, Any]:
    """Where and when: to be asked before the first part, since it tells how busy the machine is."""
    usage = HardwareMonitor().usage()
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cpu": usage.cpu_name,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "load_before": os.getloadavg()[0],
        "versions": {
            "atft-hpo": atft_hpo.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }


def write_report(
    folder: Path, where: Mapping[str, Any], outcomes: Mapping[str, Outcome]
) -> list[Path]:
    """Write the three files, the figures themselves first.

    Raises:
        VolumeError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results, page = folder / RESULTS, folder / TABLE
    write_atomically(results, (json.dumps(content(where, outcomes), indent=2) + "\n").encode())
    write_atomically(page, markdown(where, outcomes).encode())
    drawn = write_page(folder / PLOTS, "Benchmarks on a CPU", plates(outcomes))
    return [results, page, drawn]


def content(where: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Everything as JSON."""
    parts = {
        name: {
            "command": outcome.part.command,
            "seconds": outcome.seconds,
            "error": outcome.error or None,
            "result": outcome.result,
        }
        for name, outcome in outcomes.items()
    }
    return {"machine": dict(where), "parts": parts}


def markdown(where: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> str:
    """The table, below what is known of the machine."""
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    minutes = sum(outcome.seconds for outcome in outcomes.values()) / 60
    lines = [
        "# Benchmarks on a CPU",
        "",
        f"{where['date']}; {where['cpu']}, {where['cores']} core(s), {where['memory_gib']} GiB; "
        f"load before {where['load_before']:.1f}; {versions}. All cores unless a row says less. "
        f"Written by `python -m bench.suite`, in {minutes:.1f} minutes; the figures behind it are "
        f"in `{RESULTS}`, plots in `{PLOTS}`.",
        "",
        _line(HEAD),
        _line(["---"] * len(HEAD)),
    ]
    for name, outcome in outcomes.items():
        lines += [_line(cells) for cells in _cells(name, outcome)]
    return "\n".join(lines) + "\n"


def _cells(name: str, outcome: Outcome) -> list[list[str]]:
    """The rows of one part; title and command stand in the first."""
    if outcome.result is None:
        rows = [Row("", f"failed: {outcome.error}")]
    else:
        rows = rows_of(name, outcome.result)
    verdicts = {True: "reached", False: "**missed**", None: ""}
    cells = [["", row.measured, row.figure, row.asked, verdicts[row.reached], ""] for row in rows]
    cells[0][0] = outcome.part.title
    cells[0][-1] = f"`{outcome.part.command}` ({outcome.seconds:.0f} s)"
    return cells


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
