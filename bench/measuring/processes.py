"""Processes of the benchmarks: none outlives the program that started it."""

import atexit
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from multiprocessing.connection import wait
from pathlib import Path

from atft_hpo.training.run.memory import keep_freed_memory


def begin_worker() -> None:
    """Initializer of a pool: Ctrl-C ends a worker without a word, and so does its parent's end.

    A worker whose parent was killed would otherwise finish its job first, which takes minutes.
    """
    keep_freed_memory()  # as a trial's process does
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def folder_for_a_server(prefix: str) -> Path:
    """A temporary directory that an embedded Postgres may live in, removed when the program ends.

    The server stops at the program's end as well, and before: what was registered last runs first.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder)
    return folder


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
