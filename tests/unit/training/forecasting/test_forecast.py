"""One path for validation and prediction: eval mode, full range, right cells."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.array_statistics.rolling import trailing_volatility
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.atft import ATFT
from atft_hpo.model.kernels import decomposed, interpolation
from atft_hpo.model.kernels.choose import Comparison
from atft_hpo.training.forecasting import forecast
from atft_hpo.training.forecasting.forecast import (
    ForecastTable,
    evaluate_panel,
    evaluate_table,
    forecast_panel,
)

CPU = torch.device("cpu")


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
    past = trailing_volatility(panel.returns[40:100], 60)[-1]
    np.testing.assert_array_equal(past, trailing_volatility(panel.returns, 60)[99])


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
