"""How many trials run side by side, and on how many threads each, by what a probe measured.

    chosen = cpu_split(cores, probe)          # trials × threads = cores
    chosen = gpu_density(threads_of, probe)   # as many on one GPU as memory and throughput allow
    print(chosen.line())                      # 2 trials × 1 thread: 5,210 samples/s; 1 × 2: 4,100

Pure: `SideBySide` does the measuring (`probe_processes`, on this machine's processes).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

TIE = 0.97
"""A rate of so much of the best is as good: the probe does not tell them apart."""
GAIN = 1.1
"""One trial more on a GPU must raise the samples per second of all together so much."""
MARGIN = 1.25
"""One trial more must find so many times the memory that the probe's took: trials differ."""
CONTEXT_GIB = 1.0
"""What CUDA takes for a process, beside what torch holds; a generous guess."""
MOST_ON_A_GPU = 8


@dataclass(frozen=True)
class Layout:
    """Trials side by side, on a machine's cores or on one GPU."""

    trials: int
    threads: int
    """CPU threads of each."""


@dataclass(frozen=True)
class Measured:
    """What a layout did in the probe."""

    layout: Layout
    samples_per_second: float
    """Of all its trials together; 0 = they did not fit into the memory."""
    memory_gib: float | None = None
    """What torch held of the GPU for the largest of them; None on a CPU."""
    free_gib: float | None = None
    """What was left of the GPU then."""
    busy_percent: float | None = None
    """Share of the time in which the GPU worked; None where that is not known."""

    @property
    def has_room(self) -> bool:
        """Whether the GPU's memory holds one trial more."""
        if self.memory_gib is None or self.free_gib is None:
            return False
        return self.free_gib >= MARGIN * (self.memory_gib + CONTEXT_GIB)


class SideBySide(Protocol):
    """Runs the probe of a study in several processes at once."""

    def measure(self, layout: Layout) -> Measured:
        """Train in `layout` for a moment.

        Raises:
            ProbeFailedError: nothing could be measured, for another reason than memory.
        """


@dataclass(frozen=True)
class Chosen:
    """A layout, and all that was measured on the way to it."""

    layout: Layout
    tried: tuple[Measured, ...]

    def line(self) -> str:
        """The layout chosen, then the others, in a line."""
        best = next(m for m in self.tried if m.layout == self.layout)
        others = [_brief(m) for m in self.tried if m is not best]
        return "; ".join([_full(best), *others])


class ProbeFailedError(Exception):
    """Nothing could be measured; the text says why."""


def cpu_split(cores: int, probe: SideBySide) -> Chosen:
    """The division of `cores` among trials with the most samples per second in total.

    Raises:
        ProbeFailedError: no division fits into the memory, or see `SideBySide`.
    """
    tried = tuple(probe.measure(layout) for layout in splits(cores))
    best = max(measured.samples_per_second for measured in tried)
    if best <= 0.0:
        raise ProbeFailedError("not even one trial fits into the memory")
    good = [m.layout for m in tried if m.samples_per_second >= TIE * best]
    return Chosen(max(good, key=lambda layout: layout.trials), tried)


def splits(cores: int) -> list[Layout]:
    """Divisions of `cores` that leave none idle, from one thread a trial, halving at least."""
    found = [Layout(cores, 1)]
    for trials in range(cores // 2, 0, -1):
        if cores % trials == 0 and trials <= found[-1].trials // 2:
            found.append(Layout(trials, cores // trials))
    return found


def gpu_density(threads_of: Callable[[int], int], probe: SideBySide) -> Chosen:
    """As many trials on a GPU as raise the samples per second of all, and fit.

    Args:
        threads_of: CPU threads of each trial, by how many share a GPU.
        probe: measures on one GPU.

    Raises:
        ProbeFailedError: not even one trial fits, or see `SideBySide`.
    """
    tried = [probe.measure(Layout(1, threads_of(1)))]
    if tried[0].samples_per_second <= 0.0:
        raise ProbeFailedError("not even one trial fits into the GPU's memory")
    best = tried[0]
    while best.has_room and best.layout.trials < MOST_ON_A_GPU:
        trials = best.layout.trials + 1
        tried.append(probe.measure(Layout(trials, threads_of(trials))))
        if tried[-1].samples_per_second < GAIN * best.samples_per_second:
            break
        best = tried[-1]
    return Chosen(best.layout, tuple(tried))


def _full(measured: Measured) -> str:
    trials, threads = measured.layout.trials, measured.layout.threads
    title = f"{_plural(trials, 'trial')} × {_plural(threads, 'thread')}"
    parts = [f"{title}: {measured.samples_per_second:,.0f} samples/s"]
    if measured.memory_gib is not None:
        parts.append(f"{measured.memory_gib:.1f} GiB each")
    if measured.busy_percent is not None:
        parts.append(f"GPU busy {measured.busy_percent:.0f} %")
    return ", ".join(parts)


def _brief(measured: Measured) -> str:
    rate = f"{measured.samples_per_second:,.0f}" if measured.samples_per_second else "does not fit"
    return f"{measured.layout.trials} × {measured.layout.threads}: {rate}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
