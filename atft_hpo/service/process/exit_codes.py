"""Exit codes between a trial process and its agent, and what a process's death means in words."""

import enum
import signal
from pathlib import Path


class Exit(enum.IntEnum):
    """How a trial process ends. Any other code, or a signal, is a crash."""

    CONCLUDED = 0
    """Its outcome stands in the database."""
    VOLUME = 6
    """The volume is full or cannot be written; not the trial's fault."""
    INTERRUPTED = 75
    """Stopped because it was asked to; a checkpoint holds what it had finished."""
    LEASE_LOST = 76
    """Another process works on its slot."""
    OUT_OF_MEMORY = 77
    """Of the GPU or the machine; its agent knows who else was there, and decides."""


VMSTAT = Path("/proc/vmstat")


def describe_death(code: int, log: Path) -> str:
    """What a person can do something with: signal or code, and the last line printed."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory on this machine?)" if -code == signal.SIGKILL else ""
        words = f"killed by {name}{hint}"
    else:
        words = f"exit code {code}"
    last = last_words(log)
    return f"{words}; its last words: {last}" if last else words


def last_words(log: Path, most: int = 200) -> str:
    """The last line printed; empty where there is none."""
    try:
        text = log.read_bytes()[-4096:].decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:most] if lines else ""


def kernel_memory_kills() -> int:
    """Processes that Linux has killed for want of memory since it started; 0 elsewhere."""
    try:
        lines = VMSTAT.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
