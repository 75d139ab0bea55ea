"""Writing the files of a panel store: beside their place, checksummed, renamed when complete."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from atft_hpo.data.panel import FileRecord, Panel
from atft_hpo.errors import PanelStoreError, VolumeError
from atft_hpo.paths import PanelPaths


@contextmanager
def staged_store(out: Path) -> Iterator[Path]:
    """A temporary directory that becomes `out` when the block ends well, and vanishes otherwise.

    Of several builders of the same store the first to finish wins; the others' work is dropped.

    Raises:
        VolumeError: the place is full or not writable; nothing half-written stays.
        PanelStoreError: `out` exists and holds another panel, or something that is no store.
    """
    stage = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        stage.mkdir(parents=True)
        yield stage
        _publish(stage, out)
    except OSError as error:
        raise VolumeError(
            f"{out}: cannot be written ({error.strerror or error}); free space or give another "
            "place, then run the same command again"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


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
