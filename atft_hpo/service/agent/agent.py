"""An agent: claims slots for the places it has, starts a process for each, and sees them through.

    Agent(database, study, launcher, places, view).run()

Agents are equals: each one reaps what others left, claims what is free, tells what is untold, and
goes home when nothing is left to claim and nothing runs anywhere. A first SIGINT or SIGTERM ends
the claiming and asks the trial processes to stop at their next step; their slots go back to the
queue. A second one kills them.
"""

import os
import socket
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import RowMapping

from atft_hpo.errors import StudyError, VolumeError
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.agent.process_end import Running, Settler
from atft_hpo.service.capacity.places import Places
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.fencing import TrialStop
from atft_hpo.service.optuna_bridge.ask import Asked, Asker
from atft_hpo.service.optuna_bridge.tell import tell_finished
from atft_hpo.service.process.launchers import Launcher, Place, TrialJob
from atft_hpo.service.process.signals import Signals
from atft_hpo.service.queue.budget import StudyStop
from atft_hpo.service.queue.heartbeat import LeaseKeeper
from atft_hpo.service.queue.leases import (
    Claim,
    Idle,
    LeaseTimes,
    claim,
    conclude,
    note_started,
    requeue,
)
from atft_hpo.service.studies.study import OpenStudy

_SUGGESTION_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError)
"""What samplers raise on numbers they cannot digest; such a failure is the trial's, not ours."""


class View(Protocol):
    """What an agent shows while it works."""

    def refresh(self) -> None:
        """Show how the study stands; called at every turn of the loop."""

    def ended(self, trial: RowMapping) -> None:
        """A trial (row of `atft_trial`) is finished."""

    def say(self, line: str) -> None:
        """Show a line that stays."""


@dataclass(frozen=True)
class Farewell:
    """Why an agent's loop ended."""

    interrupted: bool
    stop: StudyStop | None


class Agent:
    """See the module."""

    def __init__(
        self,
        database: Database,
        study: OpenStudy,
        launcher: Launcher,
        places: Iterable[Place],
        view: View,
        times: LeaseTimes | None = None,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._database = database
        self._study = study
        self._launcher = launcher
        self._places = Places(places)
        self._view = view
        self._times = times or LeaseTimes()
        self._asker = Asker(database, study)
        self._keeper = LeaseKeeper(database, self._times)
        self._settler = Settler(database, study, self._places, view.say)
        self._signals = Signals()
        self._running: dict[Place, Running] = {}
        self._next_claim = 0.0
        self._stop: StudyStop | None = None
        self._volume_error: VolumeError | None = None

    def run(self) -> Farewell:
        """Work until the study is over, stopped, or this process is asked to stop.

        Raises:
            VolumeError: the volume is full; what ran is requeued.
            StorageError: the database did not answer for long; what ran is continued later.
        """
        with self._signals, self._keeper:
            try:
                while self._turn():
                    self._view.refresh()
                    time.sleep(self._times.poll)
            finally:
                # Empty unless something went wrong here; they stop, and say so themselves.
                for running in self._running.values():
                    running.handle.terminate()
        if self._volume_error:
            raise self._volume_error
        return Farewell(self._signals.count > 0, self._stop)

    def _turn(self) -> bool:
        """One look at everything; False when this agent may go home."""
        self._collect()
        self._enforce()
        if self._leaving:
            return bool(self._running)
        idle = self._fill()
        return not (idle and idle.over and not self._running)

    @property
    def _leaving(self) -> bool:
        return self._signals.count > 0 or self._volume_error is not None

    def _fill(self) -> Idle | None:
        """Claim and start for every free place; what the last claim said when it gave nothing."""
        for place in self._places.free(self._running):
            if time.monotonic() < self._next_claim:
                break
            self._tell()
            found = claim(self._database, self._study.name, self.name, self._times)
            if isinstance(found, Idle):
                self._next_claim = time.monotonic() + self._times.idle
                self._stop = found.stop
                return found
            self._start(found, place)
        return None

    def _start(self, found: Claim, place: Place) -> None:
        self._keeper.hold(found.lease)
        try:
            asked = self._asker.ask(found)
            self._running[place] = self._launch(found, asked, place)
        except StudyError:  # the lease was lost while Optuna was asked
            self._keeper.release(found.lease)
        except VolumeError as error:
            self._keeper.release(found.lease)
            self._volume_error = error
            requeue(self._database, found.lease, str(error))
        except OSError as error:
            self._give_up(found, Outcome.CRASHED, f"no process could be started: {error}")
        except _SUGGESTION_ERRORS as error:
            self._give_up(found, Outcome.ERROR, f"no parameters could be suggested: {error!r}")

    def _launch(self, found: Claim, asked: Asked, place: Place) -> Running:
        paths = self._database.volume.study(self._study.name).trial(asked.number)
        log = paths.attempt(found.attempt).log
        handle = self._launcher.start(TrialJob(found.lease, place, log))
        note_started(self._database, found.lease, found.attempt, handle.pid)
        return Running(found, asked, place, handle, log, time.monotonic())

    def _give_up(self, found: Claim, outcome: Outcome, message: str) -> None:
        self._keeper.release(found.lease)
        conclude(self._database, found.lease, outcome, message)
        self._view.say(f"slot {found.lease.slot}: {message}")

    def _collect(self) -> None:
        """Settle the processes that have ended."""
        ran = list(self._running.values())
        for running in ran:
            code = running.handle.poll()
            if code is None:
                continue
            del self._running[running.place]
            beside = sum(other.place.gpu == running.place.gpu for other in ran) - 1
            error = self._settler.settle(running, code, beside)
            self._volume_error = error or self._volume_error
            self._keeper.release(running.claim.lease)
            self._next_claim = 0.0
        if self._leaving and not self._running:
            self._tell()

    def _enforce(self) -> None:
        """Ask those to stop that must, and kill those that do not."""
        if self._signals.count > 1:
            self._kill_all()
        now = time.monotonic()
        for running in self._running.values():
            if running.cause is None:
                running.cause = self._cause_to_stop(running, now)
                if running.cause is not None:
                    running.asked_to_stop = now
                    running.handle.terminate()
            elif now - running.asked_to_stop > self._times.grace:
                running.handle.kill()

    def _cause_to_stop(self, running: Running, now: float) -> TrialStop | None:
        lease = running.claim.lease
        if self._keeper.is_lost(lease):
            return TrialStop.LEASE_LOST
        if self._keeper.is_cancelled(lease):
            return TrialStop.CANCELLED
        if self._leaving or self._keeper.stop_now:
            return TrialStop.INTERRUPTED
        hours = self._study.config.budget.trial_hours
        spent = running.claim.spent_seconds + now - running.started
        return TrialStop.TIMED_OUT if hours is not None and spent > hours * 3600 else None

    def _kill_all(self) -> None:
        for running in list(self._running.values()):
            running.cause = running.cause or TrialStop.INTERRUPTED
            running.handle.kill()

    def _tell(self) -> None:
        for row in tell_finished(self._database, self._study.name):
            self._view.ended(row)
