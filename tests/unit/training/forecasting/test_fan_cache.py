"""Kept FAN and SAN change no forecast, and are computed once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.atft import ATFT
from atft_hpo.training.forecasting.fan_cache import KeptDecompositions
from atft_hpo.training.forecasting.forecast import evaluate_panel, forecast_panel, new_model

CPU = torch.device("cpu")


@pytest.fixture
def config(config_of: Callable[..., Config]) -> Config:
    """The tiny configuration."""
    return config_of()


@pytest.fixture
def source(panel: Panel, config: Config) -> SliceSource:
    return SliceSource(panel, config, CPU)


@pytest.fixture
def model(config: Config, panel: Panel) -> ATFT:
    """With FAN and SAN on, and strengths at which they show."""
    torch.manual_seed(0)
    model = new_model(config, panel)
    model.enable({"fan", "san"})
    with torch.no_grad():
        for parameter in model.parameter_groups()["strengths"]:
            parameter.add_(0.3)
    return model


@pytest.fixture
def batch(source: SliceSource) -> Batch:
    return source.batch(source.evaluation_plan(source.split.validation)[0])


def test_forecasts_and_metrics_are_those_of_an_evaluation_that_keeps_nothing(
    model: ATFT, source: SliceSource, panel: Panel, config: Config
) -> None:
    days, kept = source.split.validation, KeptDecompositions()
    plain = forecast_panel(model, source, days, config)
    first, second = (forecast_panel(model, source, days, config, kept) for _ in range(2))
    np.testing.assert_allclose(first.score_DNQ, plain.score_DNQ, atol=1e-5)
    np.testing.assert_array_equal(second.score_DNQ, first.score_DNQ)
    np.testing.assert_array_equal(second.quantiles_DNQP, first.quantiles_DNQP)
    expected = evaluate_panel(model, source, panel, days, config).metrics
    assert evaluate_panel(model, source, panel, days, config, kept).metrics == pytest.approx(
        expected, rel=1e-3, abs=1e-4
    )
    model.enable({})
    without = forecast_panel(model, source, days, config, kept)
    assert not np.allclose(without.score_DNQ, plain.score_DNQ, atol=1e-3, equal_nan=True)


def test_channels_are_the_models_own_and_computed_once(model: ATFT, batch: Batch) -> None:
    kept = KeptDecompositions()
    found, again = (kept.added_to(batch, model).channels for _ in range(2))
    assert found is not None
    assert again is found
    expected = model.channels(batch)
    assert set(found) == set(expected) == {"fan", "san"}
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_they_follow_the_modules_and_the_days(
    model: ATFT, batch: Batch, source: SliceSource
) -> None:
    kept = KeptDecompositions()
    both = kept.added_to(batch, model).channels
    model.enable({"fan", "san", "graph"})
    assert kept.added_to(batch, model).channels is both  # the graph has none
    other = source.batch(source.evaluation_plan(source.split.test)[0])
    assert kept.added_to(other, model).channels is not both
    model.enable({"fan"})
    fewer = kept.added_to(batch, model).channels
    assert fewer is not None
    assert set(fewer) == {"fan"}


def test_nothing_is_kept_without_modules_without_room_or_on_a_device(
    model: ATFT, batch: Batch
) -> None:
    size = sum(channel.nbytes for channel in model.channels(batch).values())
    assert KeptDecompositions(size).added_to(batch, model).channels is not None
    assert KeptDecompositions(size - 1).added_to(batch, model) is batch
    elsewhere = batch.to(torch.device("meta"))
    assert KeptDecompositions().added_to(elsewhere, model) is elsewhere
    model.enable({"graph"})
    assert KeptDecompositions().added_to(batch, model) is batch
