"""How an epoch is cut: days into slices with random boundaries, stocks into groups of sectors."""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray


def day_cuts(days: range, length: int, offset: int) -> list[range]:
    """Consecutive ranges that cover `days` exactly, `length` long from the first cut on.

    Args:
        days: what to cover.
        length: days of a slice.
        offset: length of the first slice, 1 … length. First and last slices shorter than a
            quarter of `length` are merged into their neighbour.
    """
    cuts = [days.start, *range(days.start + offset, days.stop, length), days.stop]
    shortest = length / 4
    if len(cuts) > 2 and cuts[1] - cuts[0] < shortest:
        del cuts[1]
    if len(cuts) > 2 and cuts[-1] - cuts[-2] < shortest:
        del cuts[-2]
    return [range(a, b) for a, b in itertools.pairwise(cuts)]


def stock_groups(
    stocks: NDArray[np.int64],
    sector_N: NDArray[np.int64],
    limit: int,
    generator: torch.Generator,
) -> list[NDArray[np.int64]]:
    """Disjoint groups of at most `limit` stocks that cover `stocks`, whole sectors where possible.

    As few groups as the limit allows. Sectors go in random order to the group with most room; one
    that does not fit is shared out at random. Indices within a group ascend.
    """
    shuffled = stocks[_permutation(len(stocks), generator)]
    sectors = np.unique(sector_N[stocks])
    groups: list[list[int]] = [[] for _ in range(-(-len(stocks) // limit))]
    for sector in sectors[_permutation(len(sectors), generator)]:
        rest = shuffled[sector_N[shuffled] == sector].tolist()
        while rest:
            roomiest = min(groups, key=len)
            room = limit - len(roomiest)
            roomiest.extend(rest[:room])
            rest = rest[room:]
    return [np.sort(np.array(group, dtype=np.int64)) for group in groups]


def _permutation(count: int, generator: torch.Generator) -> NDArray[np.int64]:
    return np.asarray(torch.randperm(count, generator=generator).numpy())
