"""Validation's share of an epoch: real epochs of a tiny model, added up as the reports say."""

import json
from pathlib import Path

import pytest
import typer

from atft_hpo.config.toml import load_config, with_values
from bench.training_speed import validation

SMALL = {
    "data.features.limit": 12, "graph.window_days": 20, "slices.days": 40,
    "slices.context_days": 10, "model.lookback_days": 10, "model.hidden": 8,
    "model.attention_heads": 2, "model.gat.heads": [2], "search.space": {},
}  # fmt: skip


def test_shares_are_of_the_epochs_that_count(tmp_path: Path) -> None:
    config = validation.epochs_of(load_config(validation.STUDY), ["gat", "baseline"], "float32")
    config = with_values(config, SMALL)
    assert [(name, phase.epochs) for name, phase in config.phases.in_order] == [
        ("baseline", 2),
        ("gat", 2),
    ]
    panel = validation.write_panel(tmp_path / "panel", 260, 24, config.data)
    found = validation.reports(config, panel, tmp_path / "run")
    result = json.loads(json.dumps(validation.summary(found, panel, config)))
    assert [epoch["phase"] for epoch in result["epochs"]] == ["baseline", "gat"]
    assert [epoch["phase"] for epoch in result["first"]] == ["baseline", "gat"]
    assert result["training_days"] == 156
    assert result["validation_days"] == 26
    last = result["epochs"][-1]
    assert last["modules"] == ["fan", "graph", "san"]
    assert last["share"] == pytest.approx(found[-1].validation_seconds / found[-1].seconds)
    assert last["validated_per_second"] == pytest.approx(26 * 24 / last["validation_seconds"])
    assert result["largest_share"] == max(epoch["share"] for epoch in result["epochs"])
    assert len(validation.table(result).rows) == 2


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="gta: expected some of baseline"):
        validation.epochs_of(load_config(validation.STUDY), ["gta"], "float32")
