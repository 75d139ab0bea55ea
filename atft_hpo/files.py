"""Files that exist whole or not at all.

    write_atomically(path, data)
    with replacing(path) as file: ...          # piece by piece

A crash or a full disk leaves what `path` held before.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from atft_hpo.errors import VolumeError


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Replace `path` by `data`.

    Raises:
        VolumeError: as `replacing`.
    """
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when the context ends without an error.

    Temporary file, fsync, rename, fsync of the directory.

    Raises:
        VolumeError: the volume is full or cannot be written; `path` keeps what it held.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise VolumeError(_remedy(path, error)) from error
        raise


def _remedy(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: no space left on the volume; free some and resume, nothing was lost"
    return f"{path}: cannot be written ({error.strerror}); check the volume and resume"


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
