"""The probe of a study, run in several processes of this machine at once.

    probe = ProbeProcesses(config, panel, settings, gpu=None)
    probe.measure(Layout(trials=2, threads=1))

The processes are forked like trials, from the server that the launcher has prepared. They take
their memory, wait for each other, train for the same second, and leave together: what each of them
reports was measured beside all the others.
"""

import multiprocessing
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from atft_hpo.config.schema import Config
from atft_hpo.config.settings import Settings, environment_with
from atft_hpo.service.capacity.density import Layout, Measured, ProbeFailedError
from atft_hpo.service.process.launchers import Place, compute_environment
from atft_hpo.service.trial.error_outcome import is_out_of_memory

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

CPU_SECONDS = 1.0
GPU_SECONDS = 3.0
"""Longer, since a driver tells of the last second only how busy its GPU is."""
MOST_TOKENS = 2048
"""Stock-days of a step on a CPU; there a whole one may take minutes. GPUs take the whole slice."""
PATIENCE_SECONDS = 180.0
"""For a process to get ready (the first ones wait for the server's imports), or to finish."""


@dataclass(frozen=True)
class Part:
    """What one process of a probe is to do."""

    config: Config
    panel: Path
    settings: Settings
    place: Place


@dataclass(frozen=True)
class Answer:
    """What one process measured."""

    samples_per_second: float
    memory_gib: float | None
    free_gib: float | None
    busy_percent: float | None


class ProbeProcesses:
    """See the module. A `SideBySide`."""

    def __init__(self, config: Config, panel: Path, settings: Settings, gpu: str | None) -> None:
        """`gpu`: what CUDA_VISIBLE_DEVICES is to be; None = CPU."""
        self._config, self._panel = config, panel
        self._settings, self._gpu = settings, gpu

    def measure(self, layout: Layout) -> Measured:
        """See `SideBySide`."""
        place = Place(0, self._gpu, layout.threads)
        part = Part(self._config, self._panel, self._settings, place)
        with _processes(part, layout.trials) as lines:
            ready = [_receive(line) for line in lines]
            if None in ready:
                return Measured(layout, 0.0)
            for line in lines:
                line.send("go")
            answers = [_receive(line) for line in lines]
        return _together(layout, answers)


@contextmanager
def _processes(part: Part, count: int) -> Iterator[Sequence[Connection]]:
    """Lines to so many processes, which end when the context does."""
    context = multiprocessing.get_context("forkserver")
    started: list[ForkServerProcess] = []
    lines: list[Connection] = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=take_part, args=(part, theirs), daemon=True)
            process.start()
            theirs.close()
            started.append(process)
            lines.append(ours)
        yield lines
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.join()


def _receive(line: Connection) -> Answer | str | None:
    """What the process says; None when its memory did not suffice."""
    if not line.poll(PATIENCE_SECONDS):
        raise ProbeFailedError(f"the probe took longer than {PATIENCE_SECONDS:.0f} s")
    try:
        said: Answer | Exception | str | None = line.recv()
    except EOFError:  # killed, by the kernel's want of memory if by anything
        return None
    if isinstance(said, Exception):
        raise ProbeFailedError(str(said))
    return said


def _together(layout: Layout, answers: Sequence[Answer | str | None]) -> Measured:
    found = [answer for answer in answers if isinstance(answer, Answer)]
    if len(found) < layout.trials:
        return Measured(layout, 0.0)
    memory = [a.memory_gib for a in found if a.memory_gib is not None]
    free = [a.free_gib for a in found if a.free_gib is not None]
    busy = [a.busy_percent for a in found if a.busy_percent is not None]
    return Measured(
        layout,
        sum(answer.samples_per_second for answer in found),
        memory_gib=max(memory, default=None),
        free_gib=min(free, default=None),
        busy_percent=max(busy, default=None),
    )


def take_part(part: Part, line: Connection) -> None:
    """One process of a probe: get ready, wait for the others, train, wait to be ended."""
    try:
        with environment_with(compute_environment(part.place)):
            _train(part, line)
        line.recv()  # until then its memory is taken, beside that of the others
    except (EOFError, ConnectionError):  # its parent is gone
        return
    except Exception as error:  # noqa: BLE001 - the process's boundary: its parent hears of it
        line.send(None if is_out_of_memory(error) else _told(error))


def _train(part: Part, line: Connection) -> None:
    import torch

    from atft_hpo.data.store.panel import Panel
    from atft_hpo.results.run_summary.hardware import HardwareMonitor
    from atft_hpo.service.trial.training import pick_device
    from atft_hpo.training.run.memory import keep_freed_memory
    from atft_hpo.training.run.pace import Probe

    torch.set_num_threads(part.place.threads)
    keep_freed_memory()
    device = pick_device(part.settings)
    on_cpu = device.type == "cpu"
    panel = Panel.open(part.panel)
    probe = Probe(part.config, panel, device, MOST_TOKENS if on_cpu else None)
    probe.warm_up()
    line.send("ready")
    line.recv()
    with HardwareMonitor(device, interval_seconds=0.2) as monitor:
        pace = probe.run(CPU_SECONDS if on_cpu else GPU_SECONDS)
    busy = monitor.usage().gpu_percent_mean
    line.send(Answer(pace.samples_per_second, pace.memory_gib, pace.free_gib, busy))


def _told(error: Exception) -> Exception:
    """`error` as it may travel: one line of it."""
    line = traceback.format_exception_only(error)[-1].strip()
    return RuntimeError(line)
