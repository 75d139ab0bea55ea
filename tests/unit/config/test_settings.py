"""Settings: three variables, read in one place, never printed."""

from pathlib import Path

import pytest

from atft_hpo.config.settings import (
    DEVICE_VARIABLE,
    STORAGE_VARIABLE,
    VOLUME_VARIABLE,
    child_environment,
    read_settings,
)
from atft_hpo.errors import ConfigError

URL = "postgresql://user:secret@host/db"


def test_an_empty_environment_gives_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings({})
    assert settings.storage_url is None
    assert settings.device == "auto"
    assert settings.volume.root == tmp_path / "volume"


def test_empty_variables_count_as_absent() -> None:
    blank = {STORAGE_VARIABLE: "", VOLUME_VARIABLE: "", DEVICE_VARIABLE: ""}
    assert read_settings(blank) == read_settings({})


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_variables_are_read(device: str, tmp_path: Path) -> None:
    settings = read_settings(
        {STORAGE_VARIABLE: URL, VOLUME_VARIABLE: str(tmp_path), DEVICE_VARIABLE: device}
    )
    assert (settings.storage_url, settings.volume.root) == (URL, tmp_path)
    assert settings.device == device


def test_the_process_environment_is_the_default_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    assert read_settings().device == "cpu"


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings({VOLUME_VARIABLE: "~/v"}).volume.root == tmp_path / "v"


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="ATFT_HPO_DEVICE is 'gpu'; expected auto, cpu or cuda"):
        read_settings({DEVICE_VARIABLE: "gpu"})


def test_the_password_is_never_printed() -> None:
    assert "secret" not in repr(read_settings({STORAGE_VARIABLE: URL}))


def test_a_child_gets_everything_spelled_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "kept")
    settings = read_settings({VOLUME_VARIABLE: str(tmp_path), DEVICE_VARIABLE: "cpu"})
    child = child_environment(URL, settings)
    assert child["PATH"] == "kept"
    assert read_settings(child).storage_url == URL
    assert read_settings(child).volume == settings.volume
    assert read_settings(child).device == "cpu"


@pytest.mark.parametrize(
    ("value", "gpus"), [(None, None), ("", ()), ("0", ("0",)), ("1, GPU-ab", ("1", "GPU-ab"))]
)
def test_visible_gpus_are_cudas_own(value: str | None, gpus: tuple[str, ...] | None) -> None:
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert read_settings(environment).visible_gpus == gpus
