"""Every model on a market of pure noise, and on one whose volumes tell something."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.targets.styles import style_ranks
from atft_hpo.paths import RunPaths
from bench.real import samples
from bench.real.models import net_training, trees
from bench.real.models.registry import MODELS, forecast_key
from bench.real.samples import daily_ic
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


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "mlp", "full"])
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


def test_trees_average_their_seeds_and_are_the_same_again(telling_prices, make_task):
    one, again, two = (
        MODELS["lightgbm"].forecast(make_task(telling_prices, seeds=n)) for n in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert 0.5 < np.corrcoef(one.ravel(), two.ravel())[0, 1] < 0.9999


def test_forecasts_do_not_see_the_days_they_are_for(telling_prices, make_task, monkeypatch):
    """Labels of the fold's days may be anything."""
    task = make_task(telling_prices)
    honest = MODELS["ridge"].forecast(task)
    spoilt = make_task(telling_prices)
    labels = spoilt.labels.copy()
    labels[task.fold.train.stop :] = 99.0
    spoilt.__dict__["labels"] = labels
    np.testing.assert_array_equal(honest, MODELS["ridge"].forecast(spoilt))


def test_the_full_model_goes_on_from_its_last_epoch_and_never_reads_the_best(
    noise_prices, make_task
):
    task = make_task(noise_prices)
    first = MODELS["full"].forecast(task)
    paths = RunPaths(task.scratch)
    assert paths.swa.exists()
    for path in (paths.final, paths.swa, paths.best):
        path.unlink()
    np.testing.assert_array_equal(first, MODELS["full"].forecast(task))
    paths.best.write_bytes(b"not a checkpoint")
    np.testing.assert_array_equal(first, MODELS["full"].forecast(task))


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


def test_shuffled_labels_stay_within_their_day():
    day_R = np.repeat(np.arange(4), 50)
    label_RQ = np.stack([np.arange(200), np.arange(200) * 2], axis=1).astype(np.float32)
    mixed = trees.shuffle_within_days(label_RQ, day_R, np.random.default_rng(0))
    assert (mixed[:, 1] == 2 * mixed[:, 0]).all()
    assert (np.sort(mixed.reshape(4, 50, 2), axis=1) == label_RQ.reshape(4, 50, 2)).all()
    assert (mixed != label_RQ).mean() > 0.9


def test_rows_are_the_live_cells_and_go_back_where_they_came_from(noise_prices, make_task):
    task = make_task(noise_prices)
    days = range(150, 170)
    rows = task.rows(days)
    assert (rows.day_R == np.repeat(days, task.panel.alive[150:170].sum(axis=1))).all()
    back = task.table(days, rows.x_RF)
    grid = task.panel.features_tensor(slice(150, 170)).float().numpy()
    np.testing.assert_array_equal(back, np.where(task.panel.alive[150:170, :, None], grid, np.nan))
    ranked = task.rows(days, ranked=True)
    assert np.abs(ranked.x_RF[:40].mean(axis=0)).max() < 0.05


def test_daily_ic_is_the_mean_of_each_days_correlation():
    rng = np.random.default_rng(0)
    day_R = np.repeat(np.arange(3), 40)
    score_R, label_R = rng.standard_normal((2, 120))
    label_R[:5] = np.nan
    known = np.isfinite(label_R)
    each = [
        pearsonr(score_R[known & (day_R == d)], label_R[known & (day_R == d)]).statistic
        for d in range(3)
    ]
    assert daily_ic(score_R, label_R, day_R) == pytest.approx(np.mean(each))
    assert daily_ic(np.ones(120), label_R, day_R) == 0.0
    assert samples.daily_ic(score_R, score_R, day_R) == pytest.approx(1)
