"""Starting trial processes: a Protocol, and the launcher for this machine.

A trial process gets its place and its lease as arguments and everything secret through its
environment. It runs in a session of its own, so that Ctrl-C reaches the agent only, which then asks
its trials to stop.

On this machine it is forked from a server that has imported what a trial needs (torch alone takes
seconds), which this process starts.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

from atft_hpo.config.settings import (
    Settings,
    child_environment,
    environment_with,
    replace_environment,
)
from atft_hpo.errors import VolumeError
from atft_hpo.service.database.fencing import Lease

Main = Callable[[Sequence[str]], int]
"""What a trial process runs: arguments in, exit code out. Importable by its name."""
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


@dataclass(frozen=True)
class Place:
    """Room for one trial process."""

    index: int
    gpu: str | None
    """What CUDA_VISIBLE_DEVICES is to be; None = CPU."""
    threads: int
    """CPU threads of the process."""


@dataclass(frozen=True)
class TrialJob:
    """One attempt to start."""

    lease: Lease
    place: Place
    log: Path
    """Gets everything the process prints."""

    @property
    def arguments(self) -> list[str]:
        """Arguments of the trial process."""
        lease = self.lease
        return [
            *("--study", lease.study),
            *("--slot", str(lease.slot)),
            *("--token", str(lease.token)),
            *("--threads", str(self.place.threads)),
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
        self,
        url: str,
        settings: Settings,
        main: Main,
        preload: Sequence[str],
    ) -> None:
        """`url` of the database; `main` is what a trial process runs.

        The server imports `preload`, none of which may start threads or touch a GPU on import.
        """
        self._url = url
        self._settings = settings
        self._main = main
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))

    def prepare(self) -> None:
        """Start the server, whose imports then happen beside other work.

        Numeric libraries size their pools on import: to one thread, whatever trials will have, so
        that the same numbers come out of them. torch is told its threads by each trial.
        """
        with environment_with(_ONE_THREAD), _deaf_to_interrupts():
            forkserver.ensure_running()

    def start(self, job: TrialJob) -> Handle:
        """Start an attempt, see `Launcher`."""
        environment = child_environment(self._url, self._settings) | compute_environment(job.place)
        try:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.open("ab").close()
        except OSError as error:
            raise VolumeError(
                f"{job.log}: cannot be written ({error.strerror}); free space in the volume"
            ) from error
        self.prepare()
        arguments = (self._main, job.arguments, environment, job.log)
        process = self._context.Process(target=_run, args=arguments, daemon=True)
        try:
            process.start()
        except EOFError as error:
            raise OSError("the server that trial processes are forked from has died") from error
        return LocalHandle(process)


class LocalHandle:
    """A process on this machine that leads its own session."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process number."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.exitcode

    def terminate(self) -> None:
        """SIGTERM to the process alone: what it has started ends with it in good order."""
        if self.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to its whole session."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # ended, or has not yet made its session
            self._process.kill()
        self._process.join()


def _run(main: Main, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """In the new process: a session, an environment and a log of its own, then `main`."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    os.close(descriptor)
    replace_environment(environment)
    sys.exit(main(arguments))


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started meanwhile does not hear a Ctrl-C, which is the agent's to answer."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def compute_environment(place: Place) -> dict[str, str]:
    """What a process at `place` is told of its threads and its GPU."""
    threads = {name: str(place.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return threads | {"CUDA_VISIBLE_DEVICES": place.gpu or ""}
