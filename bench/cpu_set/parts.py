"""The programs of the CPU set, each run in a process of its own.

outcome = run_part(PARTS["step"], folder)
outcome.result             # what the program wrote with --json, or
outcome.error              # why there is none
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 1800.0
"""A part that takes longer hangs: on two cores the longest takes four minutes."""


@dataclass(frozen=True)
class Part:
    """One program with the options of its quick form."""

    title: str
    program: str
    """Module; it is run in the root of the repository."""
    options: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """As typed in the root of the repository."""
        return " ".join(("python", "-m", self.program, *self.options))


@dataclass(frozen=True)
class Outcome:
    """A part that was run: either `result` or `error` is there."""

    part: Part
    seconds: float
    result: Mapping[str, Any] | None
    """The program's JSON."""
    error: str
    """Empty, or what went wrong in one line."""
    output: str
    """What the program printed."""


PARTS: Mapping[str, Part] = {
    "step": Part("A training step", "bench.training_speed.step", ("--stocks", "200,1000")),
    "validation": Part("Validation", "bench.training_speed.validation"),
    "epoch_end": Part("The end of an epoch", "bench.training_speed.end"),
    "search": Part("The search", "bench.search"),
    "startup": Part("A trial's start", "bench.search.startup"),
    "pack": Part("Packing", "bench.panel.pack", ("--scale", "tenth")),
    "selection": Part("Variable selection", "bench.training_speed.selection"),
    "pruner": Part("Pruning", "bench.pruner"),
}
"""By name, in the order in which they run."""


def run_part(part: Part, folder: Path, longest_seconds: float = LONGEST_SECONDS) -> Outcome:
    """Run the program, its JSON going through a file in `folder`; never raises for its failure."""
    file = folder / f"{part.program}.json"
    command = [sys.executable, "-m", part.program, *part.options, "--json", str(file)]
    started = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603  (our own programs)
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=longest_seconds, check=False, cwd=ROOT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        seconds = time.monotonic() - started
        return Outcome(part, seconds, None, f"not done after {longest_seconds:,.0f} s", "")
    seconds = time.monotonic() - started
    error = failure(done.returncode, done.stdout)
    if error or not file.is_file():
        return Outcome(part, seconds, None, error or "wrote no result", done.stdout)
    return Outcome(part, seconds, json.loads(file.read_text(encoding="utf-8")), "", done.stdout)


def failure(status: int, output: str) -> str:
    """One line about a process that ended with `status`; empty when that is 0."""
    if status == 0:
        return ""
    if status < 0:
        return f"ended by signal {-status}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {status}"
