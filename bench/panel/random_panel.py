"""A panel store with random content, written straight to disk: for timing, not for learning.

    panel = write_panel(Path("/tmp/big"), days=2370, stocks=1959, config=config.data)

It has the features that the product makes from prices (`data.features.catalogue`), each drawn as
normalised features are, N(0, 1); sectors; one-day returns of a common factor and noise; and labels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.features.catalogue import catalogue
from atft_hpo.data.store.panel import (
    STORE_VERSION,
    UNKNOWN_SECTOR,
    FeatureSpec,
    Panel,
    PanelManifest,
    features_sha256,
)
from atft_hpo.data.store.store_files import staged_store, write_file
from atft_hpo.paths import PanelPaths

SECTORS = 33
DAILY_STD = 0.02


def write_panel(out: Path, days: int, stocks: int, config: DataConfig, seed: int = 0) -> Panel:
    """A store of `days` × `stocks`, all alive, with the features of `config`; kept if it exists."""
    paths = PanelPaths(out)
    if paths.manifest.is_file():
        return Panel.open(out)
    rng = np.random.default_rng(seed)
    features = tuple(
        FeatureSpec(name=doc.name, family=doc.family, normalisation="robust_z")
        for doc in catalogue(config.features)
    )
    close_DN = np.cumsum(_returns(days, stocks, rng), axis=0)
    with staged_store(out) as stage:
        staged = PanelPaths(stage)
        every_DN = np.ones((days, stocks), np.bool_)
        sector_DN = np.tile(1 + np.arange(stocks, dtype=np.int16) % SECTORS, (days, 1))
        files = {
            staged.present.name: write_file(staged.present, [every_DN]),
            staged.alive.name: write_file(staged.alive, [every_DN]),
            staged.tradable.name: write_file(staged.tradable, [every_DN]),
            staged.sector.name: write_file(staged.sector, [sector_DN]),
            staged.targets.name: write_file(staged.targets, [_targets(close_DN, config)]),
            staged.returns.name: write_file(
                staged.returns, [np.diff(close_DN, axis=0, prepend=np.nan).astype(np.float32)]
            ),
            staged.features.name: write_file(
                staged.features, _days(days, stocks, len(features), config.pack.dtype, seed)
            ),
        }
        manifest = PanelManifest(
            version=STORE_VERSION,
            dates=tuple(str(d) for d in np.arange("2010-01-01", days, dtype="datetime64[D]")),
            codes=tuple(f"{i:05d}" for i in range(stocks)),
            sectors=(UNKNOWN_SECTOR, *(f"sector {i:02d}" for i in range(SECTORS))),
            features=features,
            features_sha256=features_sha256(features),
            horizons_days=config.horizons_days,
            delay_days=config.delay_days,
            dtype=config.pack.dtype,
            rows=days * stocks,
            files=dict(sorted(files.items())),
            config=config.model_dump(mode="json", exclude={"path"}),
            report={"random": True},
        )
        content = manifest.model_dump_json(indent=1).encode()
        write_file(staged.manifest, [np.frombuffer(content, dtype=np.uint8)])
    return Panel.open(out)


def _returns(days: int, stocks: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """[D, N]: half of the variance is a factor of the sector."""
    factor_DN = rng.standard_normal((days, SECTORS))[:, np.arange(stocks) % SECTORS]
    both_DN = factor_DN + rng.standard_normal((days, stocks))
    return np.asarray(DAILY_STD * both_DN / np.sqrt(2.0))


def _targets(close_DN: NDArray[np.float64], config: DataConfig) -> NDArray[np.float32]:
    """[D, N, Q] log returns from d + δ to d + δ + h; NaN at the end."""
    target_DNQ = np.full((*close_DN.shape, len(config.horizons_days)), np.nan, dtype=np.float32)
    for q, horizon in enumerate(config.horizons_days):
        first, last = config.delay_days, config.delay_days + horizon
        known = len(close_DN) - last
        target_DNQ[:known, :, q] = close_DN[last:] - close_DN[first : first + known]
    return target_DNQ


def _days(days: int, stocks: int, features: int, dtype: str, seed: int) -> Iterator[NDArray[Any]]:
    """[N, F] of each day in the store's type; drawn by torch, whose threads share the work."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.bfloat16 if dtype == "bfloat16" else torch.float16
    for _ in range(days):
        x_NF = torch.randn(stocks, features, generator=generator).to(kind)
        yield np.asarray(x_NF.view(torch.uint16 if dtype == "bfloat16" else kind).numpy())
