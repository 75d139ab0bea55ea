"""From an exception of a trial to its outcome and one line for the database."""

import errno
import sys

from atft_hpo.errors import AtftHpoError, HealthGateError, NonFiniteError, VolumeError
from atft_hpo.search.outcome import Outcome

_VOLUME_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed")
_LONGEST = 500


def outcome_of(error: Exception) -> tuple[Outcome, str]:
    """The outcome and its message."""
    line = " ".join(str(error).split())[:_LONGEST]
    if isinstance(error, NonFiniteError):
        return Outcome.NON_FINITE, line
    if isinstance(error, HealthGateError):
        return Outcome.UNHEALTHY, line
    if is_out_of_memory(error):
        return Outcome.OUT_OF_MEMORY, line or type(error).__name__
    if isinstance(error, AtftHpoError):
        return Outcome.ERROR, line
    return Outcome.ERROR, f"{type(error).__name__}: {line}"


def is_volume_failure(error: Exception) -> bool:
    """The volume is full or read-only: no trial's fault, and the same for all of them."""
    return isinstance(error, VolumeError) or (
        isinstance(error, OSError) and error.errno in _VOLUME_ERRORS
    )


def is_out_of_memory(error: Exception) -> bool:
    """Of this machine or its GPU, however it is raised."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _MEMORY_WORDS)
