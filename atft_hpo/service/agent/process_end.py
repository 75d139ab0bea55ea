"""How trial processes ended, recorded as far as they have not done so themselves.

A trial that ran out of memory beside others is not to blame for it: it goes back to the queue
without a failure counted, and the agent carries one trial fewer from then on. One that was alone
is OUT_OF_MEMORY.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

from atft_hpo.errors import VolumeError
from atft_hpo.progress import Progress
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.capacity.places import Places
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.fencing import TrialStop
from atft_hpo.service.optuna_bridge.ask import Asked
from atft_hpo.service.process.exit_codes import (
    Exit,
    describe_death,
    kernel_memory_kills,
    last_words,
)
from atft_hpo.service.process.launchers import Handle, Place
from atft_hpo.service.queue.leases import Claim, conclude, requeue
from atft_hpo.service.studies.study import OpenStudy


@dataclass
class Running:
    """A trial process of an agent."""

    claim: Claim
    asked: Asked
    place: Place
    handle: Handle
    log: Path
    started: float
    cause: TrialStop | None = None
    asked_to_stop: float = 0.0


class Settler:
    """See the module."""

    def __init__(self, database: Database, study: OpenStudy, places: Places, say: Progress) -> None:
        self._database = database
        self._study = study
        self._places = places
        self._say = say
        self._kills = kernel_memory_kills()

    def settle(self, running: Running, code: int, beside: int) -> VolumeError | None:
        """Record the end of a process; an error when it was the volume's, and no trial can go on.

        Args:
            running: the process, which has ended.
            code: its exit code.
            beside: how many others of this agent ran on the same GPU, or CPU.
        """
        lease, cause = running.claim.lease, running.cause
        if code == Exit.LEASE_LOST or cause is TrialStop.LEASE_LOST:
            return None
        if cause is TrialStop.CANCELLED:
            conclude(self._database, lease, Outcome.CANCELLED, cause.value)
        elif cause is TrialStop.TIMED_OUT:
            hours = self._study.config.budget.trial_hours
            conclude(self._database, lease, Outcome.TIMED_OUT, f"{cause.value} = {hours}")
        elif cause is TrialStop.INTERRUPTED or code == Exit.INTERRUPTED:
            requeue(self._database, lease, TrialStop.INTERRUPTED.value)
        elif code == Exit.VOLUME:
            message = describe_death(code, running.log)
            requeue(self._database, lease, message)
            return VolumeError(f"trial {running.asked.number}: {message}")
        elif code == Exit.OUT_OF_MEMORY:
            self._out_of_memory(running, last_words(running.log), beside)
        elif code == -signal.SIGKILL and self._killed_for_memory():
            self._out_of_memory(running, "killed by the kernel, which had no memory left", beside)
        else:
            self._crashed(running, code)
        return None

    def _out_of_memory(self, running: Running, message: str, beside: int) -> None:
        lease, title = running.claim.lease, f"trial {running.asked.number}"
        if beside == 0:
            conclude(self._database, lease, Outcome.OUT_OF_MEMORY, message)
            return
        self._places.give_up(running.place, fewest=beside)
        requeue(self._database, lease, f"out of memory beside others: {message}")
        count = self._places.count(running.place.gpu)
        where = "on the CPU" if running.place.gpu is None else f"on GPU {running.place.gpu}"
        self._say(
            f"{title}: out of memory beside others; it waits, {count} at a time {where} from now on"
        )

    def _crashed(self, running: Running, code: int) -> None:
        """Nothing changes where the process has recorded its end itself."""
        message = describe_death(code, running.log)
        if conclude(self._database, running.claim.lease, Outcome.CRASHED, message):
            self._say(f"trial {running.asked.number}: {message}")

    def _killed_for_memory(self) -> bool:
        """Whether the kernel's count tells of a kill that no process has been settled for yet."""
        if kernel_memory_kills() <= self._kills:
            return False
        self._kills += 1
        return True
