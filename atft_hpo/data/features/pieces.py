"""Pieces of prices: ranges of stocks whose histories are worked on as one padded block."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.features.benchmarks import Benchmarks
from atft_hpo.data.features.families.price_history import Block, History
from atft_hpo.data.ingest.prices import Prices


def pieces(lengths: NDArray[np.int64], cells: int) -> Iterator[range]:
    """Ranges of stocks, of `lengths` rows, whose padded block has at most so many cells.

    A stock that is longer has a range of its own.
    """
    start, longest = 0, 0
    for stock, length in enumerate(lengths):
        longest = max(longest, int(length))
        if stock > start and (stock + 1 - start) * longest > cells:
            yield range(start, stock)
            start, longest = stock, int(length)
    yield range(start, len(lengths))


def history_of(prices: Prices, benchmarks: Benchmarks, piece: range) -> History:
    """The histories of a piece of stocks."""

    def block(value_R: NDArray[Any]) -> NDArray[Any]:
        return _block(prices, piece, value_R)

    return History(
        Block(
            open_NT=block(prices.open_R),
            high_NT=block(prices.high_R),
            low_NT=block(prices.low_R),
            close_NT=block(prices.close_R),
            volume_NT=block(prices.volume_R),
            traded_value_NT=block(prices.traded_value_R),
            day_NT=block(prices.day_R),
            dates=prices.dates,
            market_NT=block(benchmarks.market_R),
            sector_NT=block(benchmarks.sector_R),
        )
    )


def rows_of(prices: Prices, piece: range, x_NT: NDArray[np.float64]) -> NDArray[np.float32]:
    """The values of a block at the stocks' own rows, one after another."""
    starts = prices.starts[piece.start : piece.stop + 1] - prices.starts[piece.start]
    out_R = np.empty(int(starts[-1]), np.float32)
    with np.errstate(over="ignore"):
        for x_T, (start, stop) in zip(x_NT, pairwise(starts.tolist()), strict=True):
            out_R[start:stop] = x_T[: stop - start]
    return out_R


def _block(prices: Prices, piece: range, value_R: NDArray[Any]) -> NDArray[Any]:
    """[N, T] own rows of each stock of the piece, the last one repeated after the last."""
    starts = prices.starts[piece.start : piece.stop + 1]
    out_NT = np.empty((len(piece), int(np.diff(starts).max())), dtype=value_R.dtype)
    for n, (start, stop) in enumerate(pairwise(starts)):
        out_NT[n, : stop - start] = value_R[start:stop]
        out_NT[n, stop - start :] = value_R[stop - 1]
    return out_NT
