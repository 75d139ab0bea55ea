"""Every model on a market of pure noise, and on one whose volumes tell something."""

import dataclasses

import numpy as np
import pytest
import torch

from atft_hpo.data.neutralization.styles import style_ranks
from atft_hpo.data.sampling.slices import SliceSource
from bench.real.models import net_training
from bench.real.models.registry import MODELS, forecast_key
from bench.real.verdict.evaluation import Truth, measure


def skill_of(name, task):
    score_DNQ = MODELS[name].forecast(task)
    truth = Truth.of(task.panel, task.fold.days, 1)
    assert (np.isfinite(score_DNQ[..., 0]) == truth.yardsticks.alive_DN).all()
    return measure(score_DNQ[..., 0], truth)


@pytest.mark.parametrize("name", MODELS)
def test_on_noise_every_model_is_within_three_standard_errors_of_nothing(
    name, noise_prices, make_task
):
    summary = skill_of(name, make_task(noise_prices)).summary
    assert abs(summary["rank_ic_t"]) < 3
    assert abs(summary["pure_rank_ic_t"]) < 3


@pytest.mark.parametrize("name", MODELS)
def test_every_model_forecasts_live_stocks_alone_where_some_are_delisted(
    name, leaving_prices, make_task
):
    task = make_task(leaving_prices, net_steps=5, max_rounds=10)
    live_D = np.asarray(task.panel.alive)[task.fold.days].sum(axis=1)
    assert live_D[0] > live_D[-1]
    assert "rank_ic" in skill_of(name, task).summary


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "lightgbm_plus", "own_trees", "mlp", "full"])
def test_what_volumes_tell_is_found(name, telling_prices, make_task):
    summary = skill_of(name, make_task(telling_prices, net_steps=120)).summary
    assert summary["rank_ic"] > 0.05
    assert summary["rank_ic_t"] > 4
    assert summary["pure_rank_ic_t"] > 4


@pytest.mark.parametrize("name", ["random", "shuffled"])
def test_controls_do_not_find_it(name, telling_prices, make_task):
    assert abs(skill_of(name, make_task(telling_prices)).summary["rank_ic_t"]) < 3


def test_a_seed_gives_the_same_forecast_again_and_another_seed_another(telling_prices, make_task):
    first, second, other = (
        MODELS["mlp"].forecast(make_task(telling_prices, seed=seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other, equal_nan=True)


def test_forecasts_do_not_see_the_days_they_are_for(telling_prices, make_task, monkeypatch):
    """Labels of the fold's days may be anything."""
    task = make_task(telling_prices)
    honest = MODELS["ridge"].forecast(task)
    spoilt = make_task(telling_prices)
    labels = spoilt.labels.copy()
    labels[task.fold.train.stop :] = 99.0
    spoilt.__dict__["labels"] = labels
    np.testing.assert_array_equal(honest, MODELS["ridge"].forecast(spoilt))


def test_all_models_learn_the_label_that_the_study_names(noise_prices, make_task):
    task = make_task(noise_prices)
    loss = task.setup.config.loss.model_copy(update={"label": "pure"})
    config = task.setup.config.model_copy(update={"loss": loss})
    pure = dataclasses.replace(task, setup=dataclasses.replace(task.setup, config=config))
    styles_DNK = style_ranks(pure.panel)
    days = slice(200, 300)

    def exposure(labels_DNQ):
        known_DN1 = np.nan_to_num(labels_DNQ[days, :, :1])
        return np.abs((known_DN1 * styles_DNK[days]).mean(axis=1)).mean()

    assert exposure(pure.labels) < 0.3 * exposure(task.labels)
    source = SliceSource(pure.panel, net_training.slice_config(pure), torch.device("cpu"))
    batch = source.batch(source.evaluation_plan(range(200, 210))[0])
    stocks = batch.stocks.numpy()
    found_NSQ = batch.label_NSQ.numpy()
    np.testing.assert_array_equal(found_NSQ, pure.labels[200:210, stocks].swapaxes(0, 1))
    assert forecast_key("ridge", pure) != forecast_key("ridge", task)
