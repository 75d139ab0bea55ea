"""Work on a few days at a time, some of them at once.

    parts = in_threads(lambda days: spread(values_DN[days]), day_blocks(len(values_DN)))

What is computed of a few days by all stocks stays in a processor's cache between one operation and
the next. NumPy lets go of the interpreter while it computes, so threads share the blocks. Where
they begin does not depend on the number of threads, so neither does a result.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import torch

DAYS_AT_ONCE: Final = 32
"""With half of them, of the seed's 1,959 stocks, threads mostly wait for the interpreter."""
MOST_THREADS: Final = 4
"""More would wait for it even so; two cores is all that this was measured on."""
Item = TypeVar("Item")
Found = TypeVar("Found")


def day_blocks(days: int) -> list[slice]:
    """So many days in order, cut."""
    return [slice(first, first + DAYS_AT_ONCE) for first in range(0, days, DAYS_AT_ONCE)]


def in_threads(work: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What `work` finds of each item, in order; in as many threads as torch may use, at most."""
    threads = min(torch.get_num_threads(), MOST_THREADS)
    if threads == 1:
        return list(map(work, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
