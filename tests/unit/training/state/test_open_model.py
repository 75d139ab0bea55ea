"""A file with trained weights gives the forecast of the model that it was written from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import dump_config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import CheckpointError
from atft_hpo.model.atft import ATFT
from atft_hpo.training.forecasting.forecast import forecast_panel
from atft_hpo.training.state.checkpoint import save_checkpoint
from atft_hpo.training.state.open_model import load_model

CPU = torch.device("cpu")


def content_of(model: ATFT, config: Config, panel: Panel, **changes: Any) -> dict[str, Any]:
    """What best_main.pt holds, as far as loading needs it."""
    return {
        "version": "0", "config": dump_config(config), "modules": ["fan"],
        "features_sha256": panel.manifest.features_sha256, "model": model.state_dict(),
    } | changes  # fmt: skip


def test_a_checkpoint_gives_the_same_forecast(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best_main.pt", content_of(model, config, panel))
    loaded, found = load_model(tmp_path / "best_main.pt", panel)
    assert found == config
    assert not loaded.training
    assert loaded.enabled == {"fan"}
    source = SliceSource(panel, config, CPU)
    before, after = (forecast_panel(m, source, range(50, 80), config) for m in (model, loaded))
    np.testing.assert_array_equal(before.score_DNQ, after.score_DNQ)


def test_other_features_are_refused(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path
) -> None:
    content = content_of(model, config, panel, features_sha256="f" * 64)
    save_checkpoint(tmp_path / "best_main.pt", content)
    with pytest.raises(CheckpointError, match=r"feature list ffffffffffff, the panel has [0-9a-f]"):
        load_model(tmp_path / "best_main.pt", panel)


def test_other_weights_are_refused_in_one_line(
    model: ATFT, config: Config, panel: Panel, tmp_path: Path
) -> None:
    weights = dict(model.state_dict())
    weights["heads.point.weight"] = torch.zeros(3, 3)
    save_checkpoint(tmp_path / "x.pt", content_of(model, config, panel) | {"model": weights})
    with pytest.raises(CheckpointError, match=r"do not fit the model.*heads\.point") as caught:
        load_model(tmp_path / "x.pt", panel)
    assert "\n" not in str(caught.value)


def test_a_training_state_is_no_model(tmp_path: Path, panel: Panel) -> None:
    save_checkpoint(tmp_path / "last.pt", {"model": {}, "optimizer": {}})
    with pytest.raises(CheckpointError, match="no trained model in it"):
        load_model(tmp_path / "last.pt", panel)
