"""Starting trial processes: a Protocol, and the launcher for this machine.

A trial process gets its place and its lease as arguments and everything secret through its
environment. It runs in a session of its own, so that Ctrl-C reaches the agent only, which then asks
its trials to stop.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atft_hpo.config.settings import Settings, child_environment
from atft_hpo.errors import VolumeError
from atft_hpo.service.leases import Lease
from atft_hpo.service.slots import Place

TRIAL_PROCESS = (sys.executable, "-m", "atft_hpo.service.trial_process")


@dataclass(frozen=True)
class TrialJob:
    """One attempt to start."""

    lease: Lease
    place: Place
    log: Path
    """Gets everything the process prints."""

    @property
    def arguments(self) -> list[str]:
        """Arguments of the trial process; it ends when the parent named is gone."""
        lease = self.lease
        return [
            *("--study", lease.study),
            *("--slot", str(lease.slot)),
            *("--token", str(lease.token)),
            *("--threads", str(self.place.threads)),
            *("--parent", str(os.getpid())),
        ]


class Handle(Protocol):
    """A started trial process."""

    @property
    def pid(self) -> int:
        """Its process number, on the machine it runs on."""

    def poll(self) -> int | None:
        """Its exit code (negative: killed by that signal); None while it runs."""

    def terminate(self) -> None:
        """Ask it to stop at the next step, with a checkpoint."""

    def kill(self) -> None:
        """End it and what it has started, at once."""


class Launcher(Protocol):
    """Where trial processes run."""

    def start(self, job: TrialJob) -> Handle:
        """Start an attempt.

        Raises:
            VolumeError: its log cannot be written.
            OSError: no process can be started.
        """


class LocalLauncher:
    """Processes on this machine."""

    def __init__(
        self, url: str, settings: Settings, command: Sequence[str] = TRIAL_PROCESS
    ) -> None:
        """`url` of the database; `command` starts a trial process."""
        self._url = url
        self._settings = settings
        self._command = tuple(command)

    def start(self, job: TrialJob) -> Handle:
        """Start an attempt, see `Launcher`."""
        environment = child_environment(self._url, self._settings) | _compute(job.place)
        try:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            log = job.log.open("ab")
        except OSError as error:
            raise VolumeError(
                f"{job.log}: cannot be written ({error.strerror}); free space in the volume"
            ) from error
        with log:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        return LocalHandle(process)


class LocalHandle:
    """A process on this machine that leads its own session."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """SIGTERM to the process alone: what it has started ends with it in good order."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to its whole session."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait()


def _compute(place: Place) -> dict[str, str]:
    threads = {name: str(place.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return threads | {"CUDA_VISIBLE_DEVICES": place.gpu or ""}
