"""Checkpoints: files with a digest, which exist whole or not at all (`files`).

    save_checkpoint(paths.last, {"model": model.state_dict(), …})
    content = load_checkpoint(paths.last)

A checkpoint is `torch.save`'s bytes followed by a 40-byte trailer: 8 bytes
of mark, 32 of SHA-256 over what precedes. The digest is checked before anything is unpickled, and
`weights_only=True` admits tensors, numbers, strings, dictionaries and lists only. The digest lives
in the file, not beside it: two files cannot be replaced in one step.
"""

import hashlib
import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import torch

from atft_hpo.errors import CheckpointError
from atft_hpo.files import replacing

_MARK: Final = b"ATFTSHA2"
_TRAILER: Final = len(_MARK) + 32


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write `content` (tensors, numbers, strings, dicts, lists) to `path`, whole or not at all.

    Raises:
        VolumeError: the volume is full or cannot be written; `path` keeps what it held.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    # Hashing takes as long as writing: a hundred megabytes are written meanwhile.
    with replacing(path) as file, ThreadPoolExecutor(1) as beside:
        hashed = beside.submit(hashlib.sha256, payload)
        file.write(payload)
        file.write(_MARK + hashed.result().digest())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote, tensors on the CPU.

    Raises:
        CheckpointError: the file is absent, truncated, altered, or no checkpoint of this project.
    """
    data = _read(path)
    stored = _stored_digest(path, data)
    payload = data[:-_TRAILER]
    if hashlib.sha256(payload).digest() != stored:
        raise CheckpointError(
            f"{path}: content does not match its digest, the file was altered or is incomplete; "
            "restore it or train again"
        )
    try:
        content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors, numbers, strings, dictionaries and lists; it is not "
            "loaded, since that would run code"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected a dictionary")
    return content


def checkpoint_sha256(path: Path) -> str:
    """SHA-256 (hex) of the checkpoint's content, as stored in the file.

    Raises:
        CheckpointError: the file is absent or no checkpoint of this project.
    """
    return _stored_digest(path, _read(path)).hex()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); give an existing checkpoint"
        ) from error


def _stored_digest(path: Path, data: bytes) -> bytes:
    trailer = data[-_TRAILER:]
    if len(trailer) < _TRAILER or not trailer.startswith(_MARK):
        raise CheckpointError(
            f"{path}: {len(data)} bytes without a digest at the end, the file is truncated or no "
            "checkpoint of atft-hpo; restore it or train again"
        )
    return trailer[len(_MARK) :]
