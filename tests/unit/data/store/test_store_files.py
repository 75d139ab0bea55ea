import hashlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.store_files import staged_store, workplace, write_file
from atft_hpo.errors import DataError, PanelStoreError, VolumeError


def test_write_file_records_size_and_checksum(tmp_path):
    arrays = [np.arange(5, dtype=np.float32), np.ones((2, 3), dtype=bool).T]
    record = write_file(tmp_path / "f", arrays)
    content = (tmp_path / "f").read_bytes()
    assert content == arrays[0].tobytes() + b"\x01" * 6
    assert (record.bytes, record.sha256) == (26, hashlib.sha256(content).hexdigest())


def test_a_store_appears_only_when_complete(tmp_path):
    out = tmp_path / "deep" / "store"
    with staged_store(out) as stage:
        (stage / "file").write_text("x")
        assert not out.exists()
    assert (out / "file").read_text() == "x"
    assert [p.name for p in out.parent.iterdir()] == ["store"]


def build(out, error):
    with staged_store(out) as stage:
        (stage / "file").write_text("x")
        raise error


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), DataError("no column")]
)
def test_a_builder_that_fails_leaves_nothing(tmp_path, error):
    with pytest.raises((KeyboardInterrupt, VolumeError, DataError)):
        build(tmp_path / "store", error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["store", "us[1]-ab", "a*"])
def test_what_a_killed_builder_left_is_removed_by_the_next(tmp_path, name):
    remains = tmp_path / f".{name}.0123abcd.store"
    (remains / name).mkdir(parents=True)
    (remains / name / "old").write_text("x")
    with staged_store(tmp_path / name) as stage:
        assert not list(stage.iterdir())
        assert not remains.exists()
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_other_stores_remains_and_other_files_stay(tmp_path):
    others = {".stores.0123abcd.store", ".store.0123abcd.table", ".other.store", "store2"}
    for other in others:
        (tmp_path / other).mkdir()
    (tmp_path / ".store.notes.store").write_text("no directory")
    with staged_store(tmp_path / "store"):
        pass
    assert {p.name for p in tmp_path.iterdir()} == {*others, ".store.notes.store", "store"}


def test_a_builder_at_work_is_not_disturbed(tmp_path):
    with staged_store(tmp_path / "store") as one:
        (one / "file").write_text("x")
        with workplace(tmp_path / "store", "store") as other:
            assert not one.is_relative_to(other)
        assert (one / "file").read_text() == "x"


def test_builders_that_begin_at_once_have_each_their_own_place(tmp_path):
    def work(builder):
        for _ in range(20):
            with workplace(tmp_path / "store", "store") as place:
                (place / "file").write_text(str(builder))
                time.sleep(0.001)
                assert (place / "file").read_text() == str(builder)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert not list(tmp_path.iterdir())


def test_of_two_builders_of_the_same_store_the_first_wins(panel, tmp_path):
    out = tmp_path / "store"
    with staged_store(out) as slow:
        shutil.copytree(panel.root, slow, dirs_exist_ok=True)
        with staged_store(out) as fast:
            shutil.copytree(panel.root, fast, dirs_exist_ok=True)
        first = (out / "manifest.json").stat().st_ino
    assert (out / "manifest.json").stat().st_ino == first
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    Panel.open(out).verify()


def test_a_directory_that_is_no_store_is_left_alone(panel, tmp_path):
    out = tmp_path / "store"
    out.mkdir()
    (out / "diary.txt").write_text("mine")
    with pytest.raises(PanelStoreError, match="no panel store"), staged_store(out) as stage:
        shutil.copytree(panel.root, stage, dirs_exist_ok=True)
    assert [p.name for p in out.iterdir()] == ["diary.txt"]
