"""One path for validation and prediction: eval mode, full range, right cells, right checkpoint."""

import dataclasses
from collections.abc import Callable
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
from atft_hpo.evaluation.portfolio import trailing_volatility
from atft_hpo.model.atft import ATFT
from atft_hpo.model.kernels import decomposed, interpolation
from atft_hpo.model.kernels.choose import Comparison
from atft_hpo.training.forecasting import forecast
from atft_hpo.training.forecasting.forecast import (
    ForecastTable,
    evaluate_panel,
    evaluate_table,
    forecast_panel,
    load_model,
    new_model,
)
from atft_hpo.training.state.checkpoint import save_checkpoint

CPU = torch.device("cpu")


@pytest.fixture
def config(config_of: Callable[..., Config]) -> Config:
    """The tiny configuration with dropout that would show."""
    return config_of(model={"dropout": 0.5})


@pytest.fixture
def model(config: Config, panel: Panel) -> ATFT:
    """An untrained model."""
    torch.manual_seed(0)
    model = new_model(config, panel)
    model.enable({"fan"})
    return model


def content_of(model: ATFT, config: Config, panel: Panel, **changes: Any) -> dict[str, Any]:
    """What best_main.pt holds, as far as loading needs it."""
    return {
        "version": "0", "config": dump_config(config), "modules": ["fan"],
        "features_sha256": panel.manifest.features_sha256, "model": model.state_dict(),
    } | changes  # fmt: skip


def test_validating_twice_gives_identical_numbers_and_leaves_the_mode(
    model: ATFT, config: Config, panel: Panel
) -> None:
    source = SliceSource(panel, config, CPU)
    model.train()
    first, second = (
        evaluate_panel(model, source, panel, source.split.validation, config) for _ in range(2)
    )
    assert first.metrics == second.metrics
    assert model.training
    model.eval()
    forecast_panel(model, source, source.split.validation, config)
    assert not model.training


def test_every_live_cell_of_the_range_has_a_forecast_and_no_other(
    model: ATFT, config: Config, panel: Panel
) -> None:
    source = SliceSource(panel, config, CPU)
    days = range(20, 150)  # more than one slice
    table = forecast_panel(model, source, days, config)
    alive = np.broadcast_to(panel.alive[days.start : days.stop, :, None], table.score_DNQ.shape)
    np.testing.assert_array_equal(np.isfinite(table.score_DNQ), alive)
    assert (np.diff(table.quantiles_DNQP[alive], axis=-1) > 0).all()
    assert (table.width[alive] > 0).all()


@pytest.mark.parametrize("by_kernels", [True, False])
def test_a_card_gets_the_forms_that_are_faster_there(
    by_kernels: bool, model: ATFT, config: Config, panel: Panel,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    asked = list[tuple[Any, ...]]()

    def chosen(name: str, form: Any) -> Callable[..., Comparison]:
        def compare(*given: Any) -> Comparison:
            asked.append(given)
            return Comparison(name, form, by_kernels, reason="told")

        return compare

    selection, sums = model.selection, (object(), object())
    monkeypatch.setattr(interpolation, "compare", chosen("interpolation", sums[0]))
    monkeypatch.setattr(decomposed, "compare", chosen("decomposed features", sums[1]))
    forecast._choose_forms(model, config, CPU)
    assert selection.interpolate is sums[0]
    assert selection.fan_networks.kernels is (sums[1] if by_kernels else None)
    columns = len(panel.fan_columns)
    assert asked[0] == (len(panel.feature_names) - columns, config.model.hidden, CPU)
    assert asked[1] == (selection.fan_networks, 2 + 4 + 2 * 3, CPU)  # x, 1, FAN, SAN of two windows
    name = "Triton" if by_kernels else "reference"
    said = [f"{sum_}: {name} (told)" for sum_ in ("interpolation", "decomposed features")]
    assert capsys.readouterr().out.splitlines() == said


@pytest.mark.parametrize("triton", [True, False])
def test_forms_are_compared_where_tritons_may_be_used(
    triton: bool, config_of: Callable[..., Config], panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = list[str]()
    monkeypatch.setattr(ATFT, "to", lambda self, device: self)
    monkeypatch.setattr(forecast, "_fill", lambda *_: called.append("fill"))
    monkeypatch.setattr(forecast, "_choose_forms", lambda *_: called.append("choose"))
    forecast.model_to_train(config_of(runtime={"triton": triton}), panel, torch.device("cuda"))
    assert called == (["fill", "choose"] if triton else ["fill"])


def test_cells_are_where_the_slice_says(model: ATFT, config: Config, panel: Panel) -> None:
    source = SliceSource(panel, config, CPU)
    days = range(60, 90)
    table = forecast_panel(model, source, days, config)
    batch = source.batch(source.evaluation_plan(days)[0])
    with torch.no_grad():
        point = model.eval()(batch).point_SNQ
    np.testing.assert_array_equal(table.score_DNQ[7, batch.stocks], point[7])


def test_the_full_range_is_scored_against_raw_returns(config: Config, panel: Panel) -> None:
    days = range(100, 150)
    truth = np.nan_to_num(panel.targets[100:150]).astype(np.float32)
    table = ForecastTable(truth, np.stack([truth - 1, truth, truth + 1], axis=-1))
    found = evaluate_table(table, panel, days, config)
    assert found.metrics["rank_ic"] == pytest.approx(1.0, abs=1e-3)
    assert found.metrics["days"] == 50
    assert (found.daily.dates == panel.dates[100:150]).all()


@pytest.mark.parametrize("sizing", ["inverse_volatility", "uncertainty"])
def test_sizings_get_the_risk_they_need(
    sizing: str, model: ATFT, config_of: Callable[..., Config], panel: Panel
) -> None:
    config = config_of(portfolio={"sizing": sizing})
    source = SliceSource(panel, config, CPU)
    found = evaluate_panel(model, source, panel, source.split.validation, config)
    plain = evaluate_panel(model, source, panel, source.split.validation, config_of())
    assert found.metrics["sharpe"] != plain.metrics["sharpe"]


def test_volatility_looks_back_from_the_day_not_ahead(panel: Panel) -> None:
    past = trailing_volatility(panel.returns[40:100])[-1]
    np.testing.assert_allclose(past, trailing_volatility(panel.returns)[99], rtol=1e-6)


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


def test_precision_follows_the_configuration(model: ATFT, config: Config, panel: Panel) -> None:
    half = config.model_copy(
        update={"runtime": config.runtime.model_copy(update={"precision": "bf16"})}
    )
    source = SliceSource(panel, config, CPU)
    exact, rough = (forecast_panel(model, source, range(50, 80), c) for c in (config, half))
    assert rough.score_DNQ.dtype == np.float32
    assert not np.array_equal(exact.score_DNQ, rough.score_DNQ)
    np.testing.assert_allclose(exact.score_DNQ, rough.score_DNQ, atol=0.05)
    assert dataclasses.is_dataclass(rough)


def test_forecasts_and_metrics_hardly_depend_on_the_length_of_slices(
    model: ATFT, config: Config, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SliceSource(panel, config, CPU)
    days = range(40, 160)
    assert len(source.evaluation_plan(days)) == 1
    long = forecast_panel(model, source, days, config)
    monkeypatch.setattr(source, "evaluation_plan", lambda days: source.whole_slices(days, 30))
    short = forecast_panel(model, source, days, config)
    for q in range(long.score_DNQ.shape[2]):
        live = np.isfinite(long.score_DNQ[..., q])
        assert np.array_equal(live, np.isfinite(short.score_DNQ[..., q]))
        pair = (table.score_DNQ[..., q][live] for table in (long, short))
        assert np.corrcoef(*pair)[0, 1] > 0.999
    one, other = (evaluate_table(table, panel, days, config).metrics for table in (long, short))
    assert one["ic"] == pytest.approx(other["ic"], abs=2e-3)
    assert one["turnover"] == pytest.approx(other["turnover"], rel=0.02)
