import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig, FeaturesConfig, SyntheticConfig
from atft_hpo.data.prepare import panel_location, prepare_panel
from atft_hpo.errors import ConfigError, DataError, VolumeError
from atft_hpo.paths import Volume

SMALL = SyntheticConfig(days=130, stocks=24, noise_features=2)
SHORT = {"horizons_days": (1, 5)}


@pytest.fixture
def volume(tmp_path):
    return Volume(tmp_path / "volume")


@pytest.fixture
def table(tmp_path, market) -> Path:
    market.write_parquet(tmp_path / "market.parquet")
    return tmp_path / "market.parquet"


@pytest.fixture
def daily(tmp_path, market) -> Path:
    """Open, high, low, close, volume of the small market."""
    close = pl.col("close")
    prices = market.select(
        "date",
        "code",
        "sector",
        "close",
        open=close * (1 + pl.col("noise") / 200),
        high=close * (1.001 + pl.col("noise").abs() / 100),
        low=close * (0.999 - pl.col("noise").abs() / 100),
        volume=pl.col("ranks__volume").fill_null(1000.0),
    )
    prices.write_parquet(tmp_path / "daily.parquet")
    return tmp_path / "daily.parquet"


def test_a_synthetic_panel_is_drawn_once_and_found_again(volume):
    told = []
    config = DataConfig(synthetic=SMALL, **SHORT)
    first = prepare_panel(config, volume, told.append)
    assert first.root.parent == volume.panels
    assert first.root.name.startswith("synthetic-")
    assert first.features.shape[:2] == (130, 24)
    assert first.oracle is not None
    stamp = first.root.stat().st_mtime_ns
    assert told
    told.clear()
    again = prepare_panel(config, volume, told.append)
    assert again.fingerprint == first.fingerprint
    assert again.root.stat().st_mtime_ns == stamp
    assert not told
    assert [p.name for p in volume.panels.iterdir()] == [first.root.name]


def test_two_volumes_get_the_same_synthetic_panel(tmp_path):
    config = DataConfig(synthetic=SMALL, **SHORT)
    a, b = (prepare_panel(config, Volume(tmp_path / name)) for name in "ab")
    assert a.fingerprint == b.fingerprint
    assert a.root.name == b.root.name


def test_features_are_built_from_daily_prices(volume, daily):
    features = FeaturesConfig(families=("returns", "ranks", "calendar"), windows_days=(1, 5))
    config = DataConfig(source="ohlcv", path=str(daily), features=features, **SHORT)
    panel = prepare_panel(config, volume)
    assert panel.root.name.startswith("daily-")
    assert {spec.family for spec in panel.manifest.features} == {"returns", "ranks", "calendar"}
    assert np.isfinite(panel.targets[..., 0]).any()
    assert [p.name for p in volume.panels.iterdir()] == [panel.root.name]


def test_columns_that_are_said_are_those_of_the_prices(volume, daily, tmp_path):
    names = {"date": "when", "code": "PERMNO", "close": "Last price", "sector": "branch"}
    said = tmp_path / "said.parquet"
    pl.read_parquet(daily).rename(names).write_parquet(said)
    features = FeaturesConfig(families=("returns", "ranks"), windows_days=(1, 5))
    common = DataConfig(source="ohlcv", path=str(daily), features=features, **SHORT)
    plain = prepare_panel(common, volume)
    by_name = common.model_copy(update={"path": str(said), "columns": names})
    panel = prepare_panel(by_name, volume)
    taken = panel.manifest.report["input"]["columns"]
    assert taken | names == taken
    assert panel.manifest.sectors == plain.manifest.sectors
    np.testing.assert_array_equal(panel.features, plain.features)
    np.testing.assert_array_equal(panel.targets, plain.targets)


def test_what_was_taken_and_mended_of_prices_is_told_and_in_the_manifest(volume, daily):
    frame = pl.read_parquet(daily).sort("code", "date")
    holes = frame.with_columns(
        open=pl.when(pl.int_range(pl.len()) % 100 == 7).then(None).otherwise(pl.col("open")),
        volume=pl.when(pl.int_range(pl.len()) % 100 == 9).then(None).otherwise(pl.col("volume")),
    )
    path = daily.with_name("Daily.Prices.csv")
    holes.rename({"date": "Date", "close": "Close"}).with_columns(note=pl.lit("x")).write_csv(path)
    features = FeaturesConfig(families=("returns", "ranks"), windows_days=(1, 5))
    config = DataConfig(source="ohlcv", path=str(path), features=features, **SHORT)
    told = []
    panel = prepare_panel(config, volume, told.append)
    assert panel.root.name.startswith("Daily.Prices-")
    found = panel.manifest.report["input"]
    assert found["columns"] == {
        "date": "Date", "code": "code", "open": "open", "high": "high", "low": "low",
        "close": "Close", "volume": "volume", "sector": "sector",
    }  # fmt: skip
    assert found["unused"] == ["note"]
    assert found["repaired"] == {"no_range": 47, "no_volume": 47}
    assert sum("date = Date" in line for line in told) == 1
    assert sum("47 rows with a close but without a volume" in line for line in told) == 1


def test_a_panel_bears_the_name_of_its_input_and_depends_on_the_names_of_its_files(
    volume, daily, tmp_path
):
    folder = tmp_path / "prices.v2"
    folder.mkdir()
    daily.rename(folder / "A.parquet")
    config = DataConfig(source="ohlcv", path=str(folder), **SHORT)
    place = panel_location(config, volume)
    assert place.name.startswith("prices.v2-")
    (folder / "A.parquet").rename(folder / "B.parquet")
    assert panel_location(config, volume) != place


def test_a_table_of_features_is_packed_as_it_is(volume, table, panel):
    config = DataConfig(source="features", path=str(table), **SHORT)
    assert prepare_panel(config, volume).fingerprint == panel.fingerprint


def test_location_depends_on_what_matters_only(volume, table):
    config = DataConfig(source="features", path=str(table), **SHORT)
    place = panel_location(config, volume)

    def moved(**changes):
        return panel_location(config.model_copy(update=changes), volume) != place

    assert not moved(synthetic=SMALL)
    assert not moved(features=FeaturesConfig(limit=3))
    assert moved(delay_days=0)
    assert moved(horizons_days=(1,))
    os.utime(table, (1, 1))
    assert panel_location(config, volume) != place


@pytest.mark.parametrize("source", ["features", "ohlcv"])
def test_a_source_without_a_path_is_told_what_to_give(volume, source):
    with pytest.raises(ConfigError, match=f"'{source}', which needs .* --data"):
        prepare_panel(DataConfig(source=source), volume)


def test_an_absent_input_is_named(volume):
    with pytest.raises(DataError, match="nowhere: no such file or directory"):
        prepare_panel(DataConfig(source="features", path="/nowhere"), volume)


@pytest.mark.parametrize("limit", [100, 20_000])
def test_after_a_full_disk_nothing_is_left_and_the_same_command_builds(
    volume, file_size_limit, limit
):
    config = DataConfig(synthetic=SMALL, **SHORT)
    with file_size_limit(limit), pytest.raises(VolumeError, match="cannot be written"):
        prepare_panel(config, volume)
    assert not list(volume.panels.iterdir())
    panel = prepare_panel(config, volume)
    panel.verify()
    assert list(volume.panels.iterdir()) == [panel.root]


def test_an_interrupted_build_leaves_nothing_and_begins_anew(volume, monkeypatch):
    config = DataConfig(synthetic=SMALL, **SHORT)
    told = []

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("atft_hpo.data.prepare.pack_table", die)
        with pytest.raises(KeyboardInterrupt):
            prepare_panel(config, volume, told.append)
    assert not list(volume.panels.iterdir())
    panel = prepare_panel(config, volume, told.append)
    panel.verify()
    assert told.count("drawing a synthetic market") == 2
    assert list(volume.panels.iterdir()) == [panel.root]


def test_the_table_of_a_killed_build_is_not_taken_for_a_whole_one(volume):
    config = DataConfig(synthetic=SMALL, **SHORT)
    remains = panel_location(config, volume).parent / (
        f".{panel_location(config, volume).name}.0123abcd.table"
    )
    remains.mkdir(parents=True)
    (remains / "market.parquet").write_bytes(b"PAR1")
    panel = prepare_panel(config, volume)
    panel.verify()
    assert list(volume.panels.iterdir()) == [panel.root]
