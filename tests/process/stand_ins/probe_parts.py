"""What processes of a probe do in tests, in place of training."""

import os
import signal
from multiprocessing.connection import Connection

from atft_hpo.service.capacity.probe_processes import Answer, Part


def lacks_memory(part: Part, line: Connection) -> None:
    line.send(None)


def is_killed(part: Part, line: Connection) -> None:
    """By the kernel, in the middle of it."""
    line.send("ready")
    line.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def on_a_gpu(part: Part, line: Connection) -> None:
    """The first to come takes more memory, and looks before the others have taken theirs."""
    line.send("ready")
    line.recv()
    first = part.settings.volume.root / "first"
    try:
        first.touch(exist_ok=False)
        line.send(Answer(10.0, 4.0, 60.0, 55.0))
    except FileExistsError:
        line.send(Answer(10.0, 3.0, 20.0, None))
    line.recv()


def notes_its_number(part: Part, line: Connection) -> None:
    (part.settings.volume.root / f"pid-{os.getpid()}").touch()
    line.send(RuntimeError("an error of its own"))
    signal.pause()
