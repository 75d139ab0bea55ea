"""A probe in real processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import probe_parts
import pytest
import told_probe

from atft_hpo.config.schema import Config
from atft_hpo.config.settings import Settings
from atft_hpo.config.toml import build_config
from atft_hpo.data.store.pack import pack_table
from atft_hpo.paths import Volume
from atft_hpo.service.capacity import probe_processes
from atft_hpo.service.capacity.density import Layout, Measured, ProbeFailedError, SideBySide
from atft_hpo.service.capacity.probe_processes import ProbeProcesses

MakeProbe = Callable[[Path], SideBySide]
DAYS, STOCKS = 120, 24


@pytest.fixture
def config() -> Config:
    return build_config(
        {
            "data": {"source": "features", "horizons_days": [1]},
            "slices": {"days": 10, "context_days": 8},
            "graph": {"neighbours": 3},
            "model": {
                "hidden": 8,
                "lookback_days": 8,
                "attention_heads": 2,
                "gat": {"heads": [2]},
                "san": {"slice_days": 4, "spans": [1, 2]},
            },
            "phases": {
                name: {"horizon_weights": [1.0]}
                for name in ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")
            },
            "runtime": {"precision": "float32"},
        }
    )


@pytest.fixture
def panel(tmp_path: Path, config: Config) -> Path:
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(DAYS), STOCKS)
    table = pl.DataFrame(
        {
            "date": np.datetime64("2020-01-01") + day,
            "code": np.tile([f"S{n:02d}" for n in range(STOCKS)], DAYS),
            "close": 100.0 * np.exp(0.01 * rng.standard_normal(DAYS * STOCKS)),
            "returns__1d": rng.standard_normal(DAYS * STOCKS),
            "signal__a": rng.standard_normal(DAYS * STOCKS),
        }
    )
    table.write_parquet(tmp_path / "table.parquet")
    return pack_table(tmp_path / "table.parquet", tmp_path / "panel", config.data).root


@pytest.fixture
def make_probe(config: Config, tmp_path: Path) -> MakeProbe:
    settings = Settings(None, Volume(tmp_path), "cpu")
    return lambda path: ProbeProcesses(config, path, settings, gpu=None)


@pytest.fixture(params=["processes", "told"])
def sound(request: pytest.FixtureRequest, make_probe: MakeProbe, panel: Path) -> SideBySide:
    if request.param == "processes":
        return make_probe(panel)
    return told_probe.on_a_cpu(lambda layout: 10.0)


@pytest.fixture(params=["processes", "told"])
def unsound(request: pytest.FixtureRequest, make_probe: MakeProbe, tmp_path: Path) -> SideBySide:
    if request.param == "processes":
        return make_probe(tmp_path / "nowhere")
    return told_probe.failing("RuntimeError: no panel store")


def test_measures_trials_side_by_side(sound: SideBySide) -> None:
    found = sound.measure(Layout(2, 1))
    assert found.layout == Layout(2, 1)
    assert found.samples_per_second > 0.0
    assert (found.memory_gib, found.free_gib, found.busy_percent) == (None, None, None)
    assert not found.has_room, "of a GPU, which there is none of"


def test_what_keeps_a_trial_from_running_is_told(unsound: SideBySide) -> None:
    with pytest.raises(ProbeFailedError, match="no panel store"):
        unsound.measure(Layout(2, 1))


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Has the processes do something else than train."""
    return lambda function: monkeypatch.setattr(probe_processes, "take_part", function)


@pytest.mark.parametrize("end", [probe_parts.lacks_memory, probe_parts.is_killed])
def test_a_process_that_lacks_memory_means_that_they_do_not_fit(
    make_probe: MakeProbe, tmp_path: Path, instead: Callable[[Any], None], end: Any
) -> None:
    instead(end)
    assert make_probe(tmp_path).measure(Layout(2, 1)) == Measured(Layout(2, 1), 0.0)


def test_on_a_gpu_the_largest_trial_and_the_least_room_count(
    make_probe: MakeProbe, tmp_path: Path, instead: Callable[[Any], None]
) -> None:
    instead(probe_parts.on_a_gpu)
    found = make_probe(tmp_path).measure(Layout(3, 2))
    assert found == Measured(Layout(3, 2), 30.0, 4.0, 20.0, 55.0)


def test_no_process_outlives_the_probe(
    make_probe: MakeProbe, tmp_path: Path, instead: Callable[[Any], None], alive: Any
) -> None:
    instead(probe_parts.notes_its_number)
    with pytest.raises(ProbeFailedError, match="an error of its own"):
        make_probe(tmp_path).measure(Layout(2, 1))
    notes = list(tmp_path.glob("pid-*"))
    assert notes
    assert not any(alive(int(note.name.removeprefix("pid-"))) for note in notes)
