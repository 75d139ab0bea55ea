"""Measures of forecasts, against plain computations and planted truths."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from atft_hpo.evaluation.mean_error import mean_error
from bench.real.verdict.evaluation import (
    Truth,
    measure,
    paired,
    style_attribution,
)

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def truth(noise_prices, make_plan, panel_of):
    panel = panel_of(make_plan(noise_prices, horizons="1,5").config)
    return Truth.of(panel, range(200, 400), 1)


def noise(truth, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(truth.return_DN.shape).astype(np.float32)


def test_a_perfect_forecast_scores_everywhere(truth):
    skill = measure(truth.return_DN, truth)
    assert skill.summary["rank_ic"] == pytest.approx(1)
    assert skill.summary["pure_rank_ic"] > 0.8
    assert skill.summary["sharpe_gross"] > 10
    worse = measure(-truth.return_DN, truth)
    assert worse.summary["rank_ic"] == pytest.approx(-1)
    assert worse.summary["sharpe_gross"] < -10


def test_rank_ic_is_spearman_and_turnover_is_at_gross_exposure_two(truth):
    score = noise(truth)
    skill = measure(score, truth)
    expected = spearmanr(score[5], truth.return_DN[5]).statistic
    assert skill.rank_ic_D[5] == pytest.approx(expected, abs=1e-6)
    assert 2.0 < skill.summary["turnover"] < 4.0  # noise trades nearly both sides each day
    assert skill.summary["sharpe_net"] < skill.summary["sharpe_gross"]


def test_a_forecast_of_styles_has_no_pure_rank_ic(truth):
    style_DN = truth.exposures.styles_DNK @ np.arange(1, truth.exposures.styles_DNK.shape[2] + 1)
    known_DN = np.nan_to_num(truth.return_DN / np.nanstd(truth.return_DN))
    assert not np.isfinite(measure(style_DN.astype(np.float32), truth).pure_D).any()
    mixed = measure((style_DN + 1e-2 * known_DN).astype(np.float32), truth)
    assert mixed.summary["pure_rank_ic"] > 0.5 > mixed.summary["rank_ic"]


def test_persistence_of_a_signal_is_measured(truth):
    level = noise(truth)
    assert abs(measure(level, truth).summary["score_autocorrelation"]) < 0.05
    level[1:] = level[0]
    assert measure(level, truth).summary["score_autocorrelation"] == pytest.approx(1)


def test_attribution_recovers_a_planted_regression():
    rng = np.random.default_rng(1)
    style_DK = 0.1 * rng.standard_normal((3000, 2)) + np.array([0.02, -0.01])
    difference_D = 0.004 + style_DK @ np.array([0.5, -0.2]) + 0.02 * rng.standard_normal(3000)
    found = style_attribution(difference_D, style_DK, 1, ["a", "b"])
    assert found["alpha"] == pytest.approx(0.004, abs=3 * found["standard_error"])
    assert found["standard_error"] == pytest.approx(0.02 / np.sqrt(3000), rel=0.15)
    assert found["t"] == pytest.approx(found["alpha"] / found["standard_error"], rel=0.4)
    assert found["betas"]["a"] == pytest.approx(0.5, abs=0.02)
    assert found["betas"]["b"] == pytest.approx(-0.2, abs=0.02)
    assert found["explained"] > 0.8


@pytest.mark.parametrize("overlap", [1, 5, 20])
def test_the_error_of_alpha_is_the_one_of_a_mean_with_degrees_of_freedom_corrected(overlap):
    rng = np.random.default_rng(overlap)
    style_DK = 0.1 * rng.standard_normal((120, 3))
    noise_D = np.convolve(rng.standard_normal(119 + overlap), np.ones(overlap), "valid")
    difference_D = style_DK @ [0.5, -0.2, 0.0] + noise_D
    found = style_attribution(difference_D, style_DK, overlap, ["a", "b", "c"])
    x = np.column_stack([np.ones(120), style_DK])
    beta, *_ = np.linalg.lstsq(x, difference_D, rcond=None)
    share_D = 120 * np.linalg.inv(x.T @ x)[0] @ x.T
    expected = mean_error(share_D * (difference_D - x @ beta), overlap)
    assert expected is not None
    assert found["alpha"] == pytest.approx(beta[0])
    corrected = expected.standard_error * np.sqrt(120 / (120 - 4))
    assert found["standard_error"] == pytest.approx(corrected)


def test_attribution_leaves_unscored_days_out_and_is_empty_without_enough_of_them():
    style_DK = RNG.standard_normal((40, 2))
    difference_D = RNG.standard_normal(40)
    gaps_D = difference_D.copy()
    gaps_D[::4] = np.nan
    kept = np.isfinite(gaps_D)
    expected = style_attribution(gaps_D[kept], style_DK[kept], 1, ["a", "b"])
    assert style_attribution(gaps_D, style_DK, 1, ["a", "b"]) == expected
    assert style_attribution(difference_D[:3], style_DK[:3], 1, ["a", "b"]) == {}


def test_paired_differences_cancel_what_two_forecasts_share(truth):
    shared = noise(truth, 1)
    better = shared + 0.05 * truth.return_DN / np.nanstd(truth.return_DN)
    a, b = measure(better.astype(np.float32), truth), measure(shared, truth)
    found = paired(a, b, truth)
    assert found["rank_ic"]["t"] > 5 > a.summary["rank_ic_t"]
    assert found["pure_rank_ic"]["mean"] > 0
    low, high = found["rank_ic"]["low"], found["rank_ic"]["high"]
    assert 0 < low < found["rank_ic"]["mean"] < high
