import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing

import numpy as np
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.row_blocks import Blocks
from atft_hpo.data.ingest.table import open_table, read_rows
from atft_hpo.data.store.feature_file import FeatureFile

FEATURES = 6


@pytest.fixture
def blocks(market, tmp_path, monkeypatch):
    """160 days in 16 blocks."""
    monkeypatch.setattr("atft_hpo.data.ingest.row_blocks._BLOCK_CELLS", 30 * 10)
    market.write_parquet(tmp_path / "t.parquet")
    config = DataConfig(source="features", horizons_days=(1,))
    rows = read_rows(open_table(tmp_path / "t.parquet", config, tmp_path / "copies"), config)
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


def test_blocks_hold_each_stock_of_their_days(blocks, market):
    assert len(blocks) == 16
    ordered = market.sort("date", "code").with_row_index()
    assert market.equals(ordered.drop("index"))  # so that places are rows in this order
    places = [place for b in range(16) for day, stocks in zip(
        blocks[b].place_DS, blocks[b].stocks_D, strict=True) for place in day[:stocks]]  # fmt: skip
    assert places == list(range(len(market)))
    assert [blocks[b].first_day for b in range(16)] == list(range(0, 160, 10))


@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4, 5], [1, 4], [5]])
@pytest.mark.parametrize("ahead", [0, 2, 20])
def test_columns_become_days_in_the_same_file(blocks, tmp_path, kept, ahead):
    """With none ahead each block is read when all before it have overwritten theirs."""
    file, bits = filled(tmp_path / "f", blocks)
    with closing(file), ThreadPoolExecutor(3) as pool:
        for number, x_DNF in enumerate(file.turned(np.array(kept), pool, ahead)):
            expected = np.zeros_like(x_DNF)
            stock_DS = blocks[number].stock_DS
            for day, stocks in enumerate(blocks[number].stocks_D):
                expected[day, stock_DS[day, :stocks]] = bits[number][kept, day, :stocks].T
            np.testing.assert_array_equal(x_DNF, expected)
            file.append(x_DNF)
        record = file.finish()
    content = (tmp_path / "f").read_bytes()
    assert len(content) == record.bytes == 160 * 30 * len(kept) * 2
    assert record.sha256 == hashlib.sha256(content).hexdigest()


def test_the_file_is_never_larger_than_the_store(blocks, tmp_path):
    file, _ = filled(tmp_path / "f", blocks)
    sizes = [(tmp_path / "f").stat().st_size]
    with closing(file), ThreadPoolExecutor(1) as pool:
        for x_DNF in file.turned(np.arange(FEATURES), pool, ahead=1):
            file.append(x_DNF)
            sizes.append((tmp_path / "f").stat().st_size)
        assert max(sizes) <= file.finish().bytes


def test_the_disk_begins_before_the_end_and_its_errors_are_heard(blocks, tmp_path, monkeypatch):
    file, _ = filled(tmp_path / "f", blocks)
    appended = []

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def append_all(pool):
        for x_DNF in file.turned(np.arange(FEATURES), pool, ahead=1):
            file.append(x_DNF)
            appended.append(x_DNF)
            wait([file._flushed] if file._flushed else [])

    monkeypatch.setattr("os.fsync", full)
    with closing(file), ThreadPoolExecutor(1) as pool:
        with pytest.raises(OSError, match="No space left"):
            append_all(pool)
        assert len(appended) == 3
