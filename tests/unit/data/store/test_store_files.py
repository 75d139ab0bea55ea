import hashlib
import shutil

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


def test_an_interrupted_builder_leaves_its_work_to_the_next(tmp_path):
    for error in (KeyboardInterrupt(), OSError(28, "No space left on device")):
        with pytest.raises((KeyboardInterrupt, VolumeError)):
            build(tmp_path / "store", error)
    with staged_store(tmp_path / "store") as stage:
        assert (stage / "file").read_text() == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["file"]


def test_an_error_of_the_input_leaves_nothing(tmp_path):
    with pytest.raises(DataError):
        build(tmp_path / "store", DataError("no such column"))
    assert not list(tmp_path.iterdir())


def test_a_builder_at_work_is_not_disturbed(tmp_path):
    with staged_store(tmp_path / "store") as one, workplace(tmp_path / "store", "store") as other:
        assert one != other


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
