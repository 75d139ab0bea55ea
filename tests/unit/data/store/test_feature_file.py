import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from atft_hpo.data.ingest.row_blocks import Blocks
from atft_hpo.data.ingest.table import open_table, read_rows
from atft_hpo.data.store.feature_file import FeatureFile

FEATURES = 6


@pytest.fixture
def blocks(market, tmp_path, monkeypatch):
    """160 days in 16 blocks."""
    monkeypatch.setattr("atft_hpo.data.ingest.row_blocks._BLOCK_CELLS", 30 * 10)
    market.write_parquet(tmp_path / "t.parquet")
    rows = read_rows(open_table(tmp_path / "t.parquet", (1,)))
    return Blocks(rows, np.arange(len(rows.day_R)))


def filled(path, blocks):
    """A file with all columns, put some at a time, the last blocks first; and the bits."""
    rng = np.random.default_rng(0)
    bits = [rng.integers(1, 1 << 16, (FEATURES, *block.place_DS.shape), np.uint16)
            for block in (blocks[b] for b in range(len(blocks)))]  # fmt: skip
    file = FeatureFile(path, blocks, FEATURES)
    for first in (0, 4):
        for number in reversed(range(len(blocks))):
            file.put(number, first, np.ascontiguousarray(bits[number][first : first + 4]))
    return file, bits


def test_blocks_hold_each_live_stock_of_their_days(blocks, market):
    assert len(blocks) == 16
    ordered = market.sort("date", "code").with_row_index()
    assert market.equals(ordered.drop("index"))  # so that places are rows in this order
    places = [place for b in range(16) for day, stocks in zip(
        blocks[b].place_DS, blocks[b].stocks_D, strict=True) for place in day[:stocks]]  # fmt: skip
    assert places == list(range(len(market)))
    assert [blocks[b].first_day for b in range(16)] == list(range(0, 160, 10))


@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4, 5], [1, 4], [5]])
def test_columns_become_days_in_the_same_file(blocks, tmp_path, kept):
    file, bits = filled(tmp_path / "f", blocks)
    with closing(file), ThreadPoolExecutor(3) as pool:
        for number, x_DNF in file.turned(range(16), np.array(kept), pool, ahead=2):
            expected = np.zeros_like(x_DNF)
            live_DN = blocks[number].live_DN
            for day, stocks in enumerate(blocks[number].stocks_D):
                expected[day, live_DN[day]] = bits[number][kept, day, :stocks].T
            np.testing.assert_array_equal(x_DNF, expected)
            file.append(x_DNF)
        record = file.finish()
    content = (tmp_path / "f").read_bytes()
    assert len(content) == record.bytes == 160 * 30 * len(kept) * 2
    assert record.sha256 == hashlib.sha256(content).hexdigest()


def test_appending_leaves_the_columns_of_blocks_not_yet_known_to_the_journal(blocks, tmp_path):
    """After `lag` blocks more than the journal knows of, its next block can still be turned."""
    file, _ = filled(tmp_path / "f", blocks)
    kept = np.arange(FEATURES)
    with closing(file), ThreadPoolExecutor(1) as pool:
        days = dict(file.turned(range(16), kept, pool, ahead=0))
        for known in range(0, 16 - file.lag):
            if known == 0:
                for number in range(file.lag):
                    file.append(days[number])
            else:
                file.append(days[known + file.lag - 1])
            ((_, again),) = file.turned([known], kept, pool, ahead=0)
            np.testing.assert_array_equal(again, days[known])
