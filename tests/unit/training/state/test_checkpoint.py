"""Checkpoints are whole or absent; damage and full disks are told in one line."""

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from atft_hpo.errors import CheckpointError, VolumeError
from atft_hpo.files import write_atomically
from atft_hpo.training.state.checkpoint import (
    checkpoint_sha256,
    load_checkpoint,
    save_checkpoint,
)

CONTENT: dict[str, Any] = {
    "model": {"w": torch.arange(6.0).reshape(2, 3)},
    "text": "phases",
    "history": [{"value": 0.5, "modules": ["fan"]}],
    "nothing": {},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved checkpoint."""
    save_checkpoint(tmp_path / "last.pt", CONTENT)
    return tmp_path / "last.pt"


def test_round_trip(path: Path) -> None:
    found = load_checkpoint(path)
    assert torch.equal(found["model"].pop("w"), CONTENT["model"]["w"])
    assert found == CONTENT | {"model": {}}


def test_plain_torch_reads_the_file_too(path: Path) -> None:
    assert torch.load(path, weights_only=True)["text"] == "phases"


def test_the_digest_is_that_of_the_content(path: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "same.pt", CONTENT)
    save_checkpoint(tmp_path / "other.pt", CONTENT | {"text": "other"})
    assert len(checkpoint_sha256(path)) == 64
    assert checkpoint_sha256(path) == checkpoint_sha256(tmp_path / "same.pt")
    assert checkpoint_sha256(path) != checkpoint_sha256(tmp_path / "other.pt")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_refused(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(CheckpointError, match=r"last\.pt.*truncated"):
        load_checkpoint(path)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9, 0.9999])
def test_one_flipped_bit_is_noticed(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        load_checkpoint(path)


def test_an_absent_file_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt.*No such file"):
        load_checkpoint(tmp_path / "none.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    save_checkpoint(tmp_path / "harm.pt", {"x": Harm()})
    with pytest.raises(CheckpointError, match=r"harm\.pt: holds more than tensors"):
        load_checkpoint(tmp_path / "harm.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "cannot be written")]
)
def test_a_full_disk_leaves_the_previous_file(
    path: Path, number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    before = path.read_bytes()
    monkeypatch.setattr("atft_hpo.files.os.fsync", refuse)
    with pytest.raises(VolumeError, match=rf"last\.pt: {words}"):
        save_checkpoint(path, {"text": "new"})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


def test_a_directory_that_cannot_be_made_is_a_volume_error(path: Path) -> None:
    with pytest.raises(VolumeError, match="cannot be written"):
        write_atomically(path / "below a file" / "last.pt", b"x")


def test_a_kill_while_writing_leaves_the_previous_file(path: Path) -> None:
    before = path.read_bytes()
    script = (
        "import os, pathlib, signal, sys; from atft_hpo import files;"
        "files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL);"
        "files.write_atomically(pathlib.Path(sys.argv[1]), b'half')"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_bytes() == before


def test_a_disk_that_fills_up_meanwhile_leaves_the_previous_file(path: Path) -> None:
    before = path.read_bytes()
    script = (
        "import pathlib, resource, sys, torch;"
        "from atft_hpo.errors import VolumeError;"
        "from atft_hpo.training.state.checkpoint import save_checkpoint;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: save_checkpoint(pathlib.Path(sys.argv[1]), {'w': torch.zeros(1 << 20)})\n"
        "except VolumeError as error: sys.exit(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "last.pt: cannot be written" in done.stderr
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]


def test_content_that_cannot_be_saved_leaves_the_previous_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        save_checkpoint(path, {"w": torch.zeros(9), "x": lambda: None})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["last.pt"]
