"""Features built from random daily prices."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.features.build import build_features

Build = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """build(frame, data={…}, **settings) → the features as one frame sorted by (code, date)."""

    def run(
        frame: pl.DataFrame, data: dict[str, object] | None = None, **settings: object
    ) -> pl.DataFrame:
        folder: Path = tmp_path_factory.mktemp("features")
        frame.write_parquet(folder / "prices.parquet")
        features = {"universe_column": "member"} | settings
        config = DataConfig.model_validate({"features": features, **(data or {})})
        out = build_features(folder / "prices.parquet", folder / "out", config, threads=1)
        return pl.scan_ipc(out / "*.arrow").collect().sort("code", "date")

    return run


@pytest.fixture(scope="session")
def features(prices: pl.DataFrame, build: Build) -> pl.DataFrame:
    """All features of `prices`."""
    return build(prices)
