"""How this process treats memory that tensors have freed.

    keep_freed_memory()     # once, before training

A training step allocates and frees the same tensors over and over. Left to itself, glibc hands each
large one back to the system and gets it anew, and the system clears every page of it again.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 32 << 20
"""glibc takes no larger threshold: tensors above 32 MiB are mapped anew each time."""
_NEVER = (1 << 31) - 1


def keep_freed_memory() -> None:
    """Let the C library keep and reuse freed memory; nothing where it is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _NEVER)
