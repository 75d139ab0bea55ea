"""New trials of a study with a past: every step of the service, timed; nothing is trained.

    seconds = run_trial(database, study, asker, view, rng)      # {"claim": 0.004, …}

What an agent does for a trial (claim, ask, start, conclude, tell), what its process does after each
epoch (record, report to Optuna, judge), and what the agent does meanwhile (renew the lease, look
for new epochs).
"""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta

import numpy as np
from sqlalchemy import Connection, update

from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.tables import epoch_table
from atft_hpo.service.display.live import PlainView
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.optuna_bridge.tell import tell_finished
from atft_hpo.service.queue.leases import Claim, LeaseTimes, claim, conclude, note_started, renew
from atft_hpo.service.studies.study import OpenStudy
from atft_hpo.service.trial.assignment import read_assignment
from atft_hpo.service.trial.on_epoch import EpochReporter
from bench.search.history import report_of, steps_of

TIMES = LeaseTimes()


class Stopwatch:
    """Seconds by name, added up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Add what happens inside to `name`."""
        started = time.perf_counter()
        yield
        elapsed = time.perf_counter() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


def run_trial(
    database: Database, study: OpenStudy, asker: Asker, view: PlainView, rng: np.random.Generator
) -> dict[str, float]:
    """Seconds of one trial by step; those of epochs are sums over them."""
    watch = Stopwatch()
    with watch.of("claim"):
        found = claim(database, study.name, "bench:1:a", TIMES)
    assert isinstance(found, Claim), found
    with watch.of("ask"):
        asker.ask(found)
    with watch.of("start"):
        note_started(database, found.lease, found.attempt, 1)
        assignment = read_assignment(database, found.lease)
        assert assignment is not None
        reporter = EpochReporter(database, assignment)
    steps = steps_of(study.config)
    for done, (phase, epoch) in enumerate(steps, start=1):
        report = report_of(phase, epoch, done, len(steps), 0.02, rng)
        with watch.of("epochs"), redirect_stdout(io.StringIO()):
            reporter.on_epoch(report)
        with watch.of("agent"):
            renew(database, [found.lease], TIMES)
            view.refresh()
        database.run(lambda connection: _age(connection, study, assignment.number))
    with watch.of("conclude"):
        conclude(database, found.lease, Outcome.COMPLETE, "", 0.5)
    with watch.of("tell"):
        tell_finished(database, study.name)
    return watch.seconds


def _age(connection: Connection, study: OpenStudy, number: int) -> None:
    """Put the trial's epochs a minute back, as if each took one: a view looks at new ones."""
    row = epoch_table.c
    connection.execute(
        update(epoch_table)
        .where(row.study == study.name, row.number == number)
        .values(recorded_at=row.recorded_at - timedelta(minutes=1))
    )
