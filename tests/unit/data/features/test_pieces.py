"""Blocks of stocks, and back to rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.data.features.pieces import pieces


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), cells=st.integers(1, 100))
def test_pieces_hold_every_stock_once_within_their_cells(lengths: list[int], cells: int) -> None:
    found = list(pieces(np.array(lengths), cells))
    assert [stock for piece in found for stock in piece] == list(range(len(lengths)))
    for piece in found:
        assert len(piece) == 1 or len(piece) * max(lengths[n] for n in piece) <= cells
