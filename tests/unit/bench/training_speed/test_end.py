"""The parts of an epoch's end are those a run goes through, at any size."""

from pathlib import Path

import numpy as np
import torch

from atft_hpo.config.toml import load_config, with_values
from atft_hpo.evaluation.metrics import evaluate_forecast
from atft_hpo.training.state.checkpoint import load_checkpoint
from bench.training_speed import end

SMALL = {
    "data.features.limit": 12, "graph.window_days": 20, "slices.days": 40,
    "slices.context_days": 10, "model.lookback_days": 10, "model.hidden": 8,
    "model.attention_heads": 2, "model.gat.heads": [2], "search.space": {},
}  # fmt: skip


def test_every_part_is_measured_and_its_files_are_those_of_a_run(tmp_path: Path) -> None:
    config = with_values(load_config(end.STUDY), SMALL)
    score_DNQ, yardsticks = end.draw(30, 80, len(config.data.horizons_days))
    found = end.measured(
        lambda: evaluate_forecast(score_DNQ, yardsticks, config), config, tmp_path, repeats=1
    )
    assert list(found) == ["metrics, first", "metrics", "weights", "tables", "last.pt"]
    assert all(seconds > 0.0 for seconds in found.values())
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"last.pt", "metrics.parquet", "daily.parquet"}
    content = load_checkpoint(tmp_path / "run" / "last.pt")
    weights = content["model"]
    for part in ("best", "candidate"):
        assert content[part]["weights"].keys() == weights.keys()
    parameters = len(content["optimizer"]["state"])
    assert parameters > 0
    assert all(
        torch.is_tensor(moments["exp_avg_sq"]) for moments in content["optimizer"]["state"].values()
    )


def test_forecasts_are_of_live_stocks_and_some_labels_are_missing() -> None:
    score_DNQ, yardsticks = end.draw(30, 80, 2)
    np.testing.assert_array_equal(np.isfinite(score_DNQ[..., 1]), yardsticks.alive_DN)
    assert 0.0 < np.isnan(yardsticks.returns_DNQ).mean() < 0.05
    assert yardsticks.exposures is not None
    assert yardsticks.exposures.styles_DNK.shape == (30, 80, 8)
