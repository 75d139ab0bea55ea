"""What this machine can do, measured: the floors that times are compared with.

rate = grouped_matmul_rate(groups, rows, inner, tokens, device)    # FLOP/s, float32
rate = copy_bandwidth(device)                                      # bytes/s, read plus written
"""

import time
from collections.abc import Callable

import torch

REPEATS = 5


def best_seconds(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """The shortest of a few calls, after one that warms up; waits for a GPU."""
    action()
    _wait()
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        _wait()
        best = min(best, time.perf_counter() - started)
    return best


def grouped_matmul_rate(
    groups: int, rows: int, inner: int, tokens: int, device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> float:  # fmt: skip
    """FLOP/s of `groups` products [rows, inner] · [inner, tokens] at once."""
    left = torch.randn(groups, rows, inner, device=device).to(dtype)
    right = torch.randn(groups, inner, tokens, device=device).to(dtype)
    out = torch.empty(groups, rows, tokens, device=device, dtype=dtype)
    seconds = best_seconds(lambda: torch.bmm(left, right, out=out))
    return 2.0 * groups * rows * inner * tokens / seconds


def matmul_rate(size: int, device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """FLOP/s of one square product."""
    left = torch.randn(size, size, device=device).to(dtype)
    out = torch.empty_like(left)
    seconds = best_seconds(lambda: torch.mm(left, left, out=out))
    return 2.0 * size**3 / seconds


def copy_bandwidth(device: torch.device, megabytes: int = 256) -> float:
    """Bytes/s of a copy, what is read and what is written both counted."""
    source = torch.empty(megabytes << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2.0 * source.nbytes / best_seconds(lambda: target.copy_(source))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
