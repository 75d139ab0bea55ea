"""Writing the files of a panel store: beside their place, checksummed, renamed when complete."""

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
from atft_hpo.errors import AtftHpoError, PanelStoreError, VolumeError
from atft_hpo.paths import PanelPaths

_LOCK = "lock"


@contextmanager
def workplace(out: Path, purpose: str) -> Iterator[Path]:
    """A directory beside `out` for unfinished work: what a builder that died left, or a new one.

    It is gone when the block ends, well or with an error of the input. After anything else (a full
    disk, an interrupt) it stays, for the next builder of `out` to go on with. Builders that race
    have each their own.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    place, lock = _claim(out, purpose)
    try:
        yield place
    except AtftHpoError as error:
        if not isinstance(error, VolumeError):
            shutil.rmtree(place, ignore_errors=True)
        raise
    else:
        shutil.rmtree(place, ignore_errors=True)
    finally:
        lock.release()


@contextmanager
def staged_store(out: Path) -> Iterator[Path]:
    """A `workplace` that becomes `out` when the block ends well.

    Of several builders of the same store the first to finish wins; the others' work is dropped.

    Raises:
        VolumeError: the place is full or not writable; what was done stays for the next builder.
        PanelStoreError: `out` exists and holds another panel, or something that is no store.
    """
    try:
        with workplace(out, "store") as stage:
            yield stage
            (stage / _LOCK).unlink()
            _publish(stage, out)
    except OSError as error:
        raise VolumeError(
            f"{out}: cannot be written ({error.strerror or error}); free space or give another "
            "place, then run the same command again: it goes on from there"
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


def _claim(out: Path, purpose: str) -> tuple[Path, FileLock]:
    """A place nobody works at, and its lock."""
    for place in sorted(out.parent.glob(f".{out.name}.*.{purpose}")):
        lock = FileLock(place / _LOCK)
        with suppress(Timeout, OSError):  # somebody works there, or it has just vanished
            lock.acquire(blocking=False)
            return place, lock
    while True:
        place = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.{purpose}")
        place.mkdir()
        lock = FileLock(place / _LOCK)
        with suppress(Timeout):  # another builder took it for left behind
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
