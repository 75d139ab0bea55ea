"""One attempt of one trial, in a process of its own.

    main(["--study", "S", "--slot", "3", "--token", "17", "--threads", "1"])

Reads what to do by its lease, continues from the newest checkpoint of earlier attempts, trains, and
records how it ended; its agent tells Optuna. What it prints goes to the attempt's log.txt.

This is the one place that catches everything: an exception becomes an outcome with a traceback in
log.txt, never a number. SIGTERM, SIGINT and the death of its agent stop it at the next step.
"""

import argparse
import math
import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atft_hpo.config.settings import Settings, read_settings
from atft_hpo.config.toml import dump_config
from atft_hpo.errors import StorageError
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.connection import Database, attach_database
from atft_hpo.service.database.fencing import Lease
from atft_hpo.service.process.exit_codes import Exit
from atft_hpo.service.process.signals import Signals
from atft_hpo.service.queue.leases import conclude, note_interrupted
from atft_hpo.service.trial.assignment import Assignment, newest_checkpoint, read_assignment
from atft_hpo.service.trial.error_outcome import is_volume_failure, outcome_of
from atft_hpo.service.trial.on_epoch import EpochReporter
from atft_hpo.service.trial.training import Siblings, TorchWork, Work
from atft_hpo.training.phases.epoch_report import Decision, Ending, TrainingResult

PRELOAD = (
    "atft_hpo.service.trial.trial_process",
    "atft_hpo.training.run.loop",
    "atft_hpo.search.shared_states",
    "atft_hpo.results.run_summary.summary",
    "atft_hpo.results.run_summary.hardware",
    "atft_hpo.training.run.pace",
    "lightgbm",
    "torch._dynamo",  # torch imports it with the first optimiser; it takes more than a second
    "alembic.command",  # Optuna imports these with its first storage
    "optuna.storages._rdb.models",
    "psycopg2.extras",
)
"""What the server imports that trial processes, and those of the probe, are forked from."""


@dataclass(frozen=True)
class Orders:
    """The arguments of a trial process."""

    lease: Lease
    threads: int


def main(arguments: Sequence[str], make_work: Callable[[Settings], Work] = TorchWork) -> int:
    """Run the attempt; returns an `Exit`."""
    orders = parse_orders(arguments)
    with Signals() as signals:

        def should_stop() -> Decision:
            asked = signals.count > 0 or agent_is_gone()
            return Decision.INTERRUPT if asked else Decision.CONTINUE

        settings = read_settings()
        database = attach_database(settings)
        assignment = read_assignment(database, orders.lease)
        if assignment is None:
            return Exit.LEASE_LOST
        attempt = Attempt(database, assignment, should_stop)
        return attempt.run(orders.threads, lambda: make_work(settings))


def agent_is_gone() -> bool:
    """Whether the process that started this one has ended."""
    agent = multiprocessing.parent_process()
    return agent is not None and not agent.is_alive()


def parse_orders(arguments: Sequence[str]) -> Orders:
    """The arguments that `launchers.TrialJob` writes."""
    parser = argparse.ArgumentParser(prog="trial process")
    parser.add_argument("--study", required=True)
    for name in ("--slot", "--token", "--threads"):
        parser.add_argument(name, required=True, type=int)
    given = parser.parse_args(arguments)
    return Orders(Lease(given.study, given.slot, given.token), given.threads)


class Attempt:
    """See the module."""

    def __init__(
        self, database: Database, assignment: Assignment, should_stop: Callable[[], Decision]
    ) -> None:
        self._database = database
        self._assignment = assignment
        self._should_stop = should_stop

    def run(self, threads: int, make_work: Callable[[], Work]) -> Exit:
        """Train and record how it ended. The only errors that leave are the database's."""
        try:
            return self._train(threads, make_work())
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: see the module
            traceback.print_exc()
            if is_volume_failure(error):
                return Exit.VOLUME
            outcome, message = outcome_of(error)
            if outcome is Outcome.OUT_OF_MEMORY:
                print(message, flush=True)
                return Exit.OUT_OF_MEMORY
            return self._conclude(outcome, message)

    def _train(self, threads: int, work: Work) -> Exit:
        its = self._assignment
        config = its.config(threads)
        trial = its.paths(self._database.volume)
        run = trial.attempt(its.attempt)
        run.root.mkdir(parents=True, exist_ok=True)
        trial.config.write_text(dump_config(config), encoding="utf-8")
        panel = work.open_panel(its.study.panel)
        resume_from = newest_checkpoint(trial, its.attempt, work)
        start = resume_from or "the start"
        print(f"trial {its.number}, attempt {its.attempt}: from {start}", flush=True)
        reporter = EpochReporter(self._database, its)
        siblings = Siblings(its.study.config, self._database.volume.states)
        result = work.train(
            config, panel, run, reporter.on_epoch, resume_from, self._should_stop, siblings
        )
        if result.ending is Ending.INTERRUPTED:
            note_interrupted(self._database, its.lease, its.attempt, "asked to stop")
            return Exit.INTERRUPTED
        if reporter.lease_lost:
            return Exit.LEASE_LOST
        outcome, message = _outcome(result, reporter.reason)
        title = f"Trial {its.number} of {its.study.name}"
        try:
            work.summarise(config, result, run, panel, title, outcome.name)
        except Exception as error:  # noqa: BLE001 - hours of training outweigh their summary
            traceback.print_exc()
            message = f"{message}; summary.md was not written: {error}".removeprefix("; ")
        return self._conclude(outcome, message, result.value)

    def _conclude(self, outcome: Outcome, message: str, value: float | None = None) -> Exit:
        value = value if outcome is Outcome.COMPLETE else None
        print(f"{outcome.name} {message}".rstrip(), flush=True)
        held = conclude(self._database, self._assignment.lease, outcome, message, value)
        return Exit.CONCLUDED if held else Exit.LEASE_LOST


def _outcome(result: TrainingResult, reason: str) -> tuple[Outcome, str]:
    if result.ending is Ending.PRUNED:
        return Outcome.PRUNED, reason
    if result.ending is Ending.CANCELLED:
        return Outcome.CANCELLED, reason
    if result.value is None or not math.isfinite(result.value):
        return Outcome.NON_FINITE, f"the objective is {result.value} at the end of training"
    return Outcome.COMPLETE, ""
