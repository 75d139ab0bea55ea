"""Writing the files of a panel store: beside their place, checksummed, renamed when complete."""

import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from numpy.typing import NDArray

from atft_hpo.data.store.panel import FileRecord, Panel
from atft_hpo.errors import PanelStoreError, VolumeError
from atft_hpo.paths import PanelPaths

_LOCK = "lock"


@contextmanager
def workplace(out: Path, purpose: str) -> Iterator[Path]:
    """A new directory beside `out` for unfinished work; gone when the block ends, well or not.

    What a builder of `out` that was killed has left for the same purpose is removed first. Builders
    that race have each their own.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _sweep(out, purpose)
    place, lock = _new_place(out, purpose)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        lock.release()


@contextmanager
def staged_store(out: Path) -> Iterator[Path]:
    """A directory that becomes `out` when the block ends well.

    Of several builders of the same store the first to finish wins; the others' work is dropped.

    Raises:
        VolumeError: the place is full or not writable.
        PanelStoreError: `out` exists and holds another panel, or something that is no store.
    """
    try:
        with workplace(out, "store") as place:
            stage = place / out.name
            stage.mkdir()
            yield stage
            _publish(stage, out)
    except OSError as error:
        raise VolumeError(
            f"{out}: cannot be written ({error.strerror or error}); free space or give another "
            "place, then run the same command again"
        ) from error


def write_file(path: Path, arrays: Iterable[NDArray[Any]]) -> FileRecord:
    """Write arrays one after another, in C order, to disk; returns size and checksum."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for array in arrays:
            content = array.tobytes()
            digest.update(content)
            size += file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return FileRecord(bytes=size, sha256=digest.hexdigest())


def _sweep(out: Path, purpose: str) -> None:
    """Remove the places of `out` that nobody works at."""
    for place in out.parent.glob(f".{glob.escape(out.name)}.*.{purpose}"):
        lock = FileLock(place / _LOCK)
        # somebody may work there, or it may just have vanished
        with suppress(Timeout, OSError), lock.acquire(blocking=False):
            shutil.rmtree(place, ignore_errors=True)


def _new_place(out: Path, purpose: str) -> tuple[Path, FileLock]:
    """A place of its own, and its lock."""
    while True:
        place = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.{purpose}")
        place.mkdir()
        lock = FileLock(place / _LOCK)
        # another builder may take it for left behind
        with suppress(Timeout, FileNotFoundError, FileExistsError):
            lock.acquire(blocking=False)
            return place, lock


def _publish(stage: Path, out: Path) -> None:
    if not out.exists():
        try:
            stage.rename(out)
        except OSError:
            if not out.exists():
                raise
        else:
            return
    ours = PanelPaths(stage).manifest.read_bytes()
    if Panel.open(out).fingerprint != hashlib.sha256(ours).hexdigest():
        raise PanelStoreError(
            f"{out}: holds another panel already; remove it or give another place"
        )
