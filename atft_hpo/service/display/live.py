"""What people see while a study runs: a live table on a terminal, plain lines everywhere else.

Both read the database, so they show the trials of all agents, wherever these run.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, RowMapping, text

from atft_hpo.results.console import number_columns, say
from atft_hpo.results.status_lines import count, duration, ended_line, epoch_line, signed
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.epoch_rows import decode_epoch
from atft_hpo.service.studies.status import RunningTrial, StudyStatus, read_status

_COLUMNS = ("trial", "phase", "epoch", "IC", "RankIC", "pure", "Sharpe", "samples/s", "ETA")


_NEW_EPOCHS = text("""
    SELECT clock, number, step, attempt, facts
    FROM (SELECT clock_timestamp() AS clock) c LEFT JOIN atft_epoch e
      ON study = :study AND recorded_at > CAST(:since AS timestamptz) - interval '10 seconds'
      AND recorded_at > CAST(:start AS timestamptz)
    ORDER BY recorded_at
""")
"""A row without a number when there is none; it tells the time."""


class LiveView:
    """One line per running trial and a line of counts, redrawn about every second."""

    def __init__(
        self, database: Database, study: str, live: Live, period_seconds: float = 1.0
    ) -> None:
        self._database = database
        self._study = study
        self._live = live
        self._period = period_seconds
        self._next = 0.0

    def refresh(self) -> None:
        """Redraw when it is time."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._period
            self._live.update(status_view(read_status(self._database, self._study)), refresh=True)

    def ended(self, trial: RowMapping) -> None:
        """A line above the table."""
        self.say(ended_line(trial))

    def say(self, line: str) -> None:
        """A line above the table."""
        self._live.console.print(line, markup=False, highlight=False)


class PlainView:
    """One line per finished epoch and per finished trial."""

    def __init__(
        self, database: Database, study: str, console: Console, period_seconds: float = 1.0
    ) -> None:
        self._database = database
        self._study = study
        self._console = console
        self._period = period_seconds
        self._next = 0.0
        self._seen: set[tuple[int, int, int]] = set()
        self._start: Any = database.run(_clock)
        self._since = self._start

    def refresh(self) -> None:
        """Print the epochs that were recorded since the last time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._period
        for row in self._database.run_single(self._new_epochs):
            key = (row["number"], row["step"], row["attempt"])
            if key not in self._seen:
                self._seen.add(key)
                self.say(epoch_line(f"trial {row['number']}", decode_epoch(row)))

    def ended(self, trial: RowMapping) -> None:
        """A line; the trial's last epochs come before it."""
        self._next = 0.0
        self.refresh()
        self.say(ended_line(trial))

    def say(self, line: str) -> None:
        """A line."""
        say(self._console, line)

    def _new_epochs(self, connection: Connection) -> Sequence[RowMapping]:
        """Looks back some seconds: a row may be committed later than its clock says."""
        values = {"study": self._study, "since": self._since, "start": self._start}
        rows = connection.execute(_NEW_EPOCHS, values).mappings().all()
        self._since = rows[0]["clock"]
        return [row for row in rows if row["number"] is not None]


@contextmanager
def open_view(database: Database, study: str, console: Console) -> Iterator[LiveView | PlainView]:
    """The view that fits `console`."""
    if not console.is_terminal:
        yield PlainView(database, study, console)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield LiveView(database, study, live)


def status_view(status: StudyStatus) -> RenderableType:
    """Running trials, if any, and a line of counts."""
    counts = Text(counts_line(status), no_wrap=True)
    return Group(running_table(status), counts) if status.running else counts


def running_table(status: StudyStatus) -> Table:
    """One line per running trial; where it is narrow, its name gives way, not its numbers."""
    numbers = number_columns(*_COLUMNS[2:])
    table = Table(*_COLUMNS[:2], *numbers, box=None, collapse_padding=True, pad_edge=False)
    for trial in status.running:
        table.add_row(*_cells(trial))
    return table


def counts_line(status: StudyStatus) -> str:
    """Done, running, pruned, failed of N, and the best value."""
    parts = [f"{status.finished} of {status.target_trials} done"]
    parts += [f"{n} {name.lower().replace('_', ' ')}" for name, n in status.outcomes.items()]
    parts += [f"{len(status.running)} running"] if status.running else []
    parts += [f"{status.waiting} waiting"] if status.waiting else []
    if status.best_value is not None:
        parts.append(f"best {status.best_value:.4g} (trial {status.best_number})")
    parts += [f"test range read {status.test_reads} ×"] if status.test_reads else []
    return f"{status.name}: {' · '.join(parts)}"


def _cells(trial: RunningTrial) -> list[str]:
    name = "–" if trial.number is None else str(trial.number)
    name += f" (attempt {trial.attempt})" if trial.attempt > 1 else ""
    epoch = trial.epoch
    if epoch is None:
        return [name, "starting", duration(trial.running_seconds), *["–"] * 6]
    return [
        name,
        f"{epoch.phase_name} {epoch.epoch + 1}",
        f"{epoch.epochs_done}/{epoch.epochs_total}",
        signed(epoch.metrics.get("ic")),
        signed(epoch.metrics.get("rank_ic")),
        signed(epoch.metrics.get("pure_rank_ic")),
        signed(epoch.metrics.get("sharpe"), 2),
        count(epoch.samples_per_second),
        duration(trial.eta_seconds),
    ]


def _clock(connection: Connection) -> Any:
    return connection.execute(text("SELECT clock_timestamp()")).scalar_one()
