"""Does this CPU compute in bf16, or only seem to?

    if warning := slower_in_bf16():
        print(warning)

A CPU without instructions for bf16 (on x86 AVX-512 BF16 or AMX) converts every number, which takes
longer than float32. What it has is not asked: a product is timed.
"""

import time
from collections.abc import Callable

import torch

_SIDE = 256
"""Of the matrices: in bf16 a tenth of a second where it is slow."""
_REPEATS = 2
Seconds = Callable[[torch.dtype], float]


def product_seconds(dtype: torch.dtype) -> float:
    """Of a product of two square matrices on the CPU: the shortest of some, after a warm-up."""
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(_SIDE, _SIDE, generator=generator).to(dtype)
    found = []
    for _ in range(1 + _REPEATS):
        started = time.perf_counter()
        square @ square
        found.append(time.perf_counter() - started)
    return min(found[1:])


def slower_in_bf16(seconds: Seconds = product_seconds) -> str | None:
    """A warning, where products take longer in bf16 than in float32."""
    ratio = seconds(torch.bfloat16) / seconds(torch.float32)
    if ratio <= 1.0:
        return None
    return (
        f"runtime.precision is bf16, but this CPU takes {ratio:.1f} times as long for a product in "
        'bf16 as in float32; "float32" trains faster here'
    )
