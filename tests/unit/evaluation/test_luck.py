"""Deflated Sharpe and PBO: the published worked example, SciPy, brute force, and noise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from atft_hpo.evaluation.luck import (
    Moments,
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    luck_probability,
    moments_of,
    pbo_cscv,
    pbo_logits,
    probabilistic_sharpe,
    serial_sharpe_error,
    sharpe_standard_error,
)

# Bailey & López de Prado 2014: annual Sharpe 2.5, five years of 250 days, skew −3, kurtosis 10.
EXAMPLE = Moments(sharpe=2.5 / math.sqrt(250), days=1250, skew=-3.0, kurtosis=10.0)
VARIANCE = 0.5 / 250


def test_worked_example_of_the_deflated_sharpe_paper() -> None:
    assert expected_maximum(100, VARIANCE) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(EXAMPLE, 100, VARIANCE) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(EXAMPLE, 46, VARIANCE) == pytest.approx(0.9505, abs=5e-5)


def test_best_of_n_by_luck_matches_simulation() -> None:
    draws = np.random.default_rng(0).standard_normal((4000, 50)).max(axis=1)
    assert expected_maximum(50, 1.0) == pytest.approx(draws.mean(), abs=0.03)


def test_one_trial_needs_no_deflation() -> None:
    assert expected_maximum(1, 0.3) == 0.0
    assert deflated_sharpe(EXAMPLE, 1, 0.3) == probabilistic_sharpe(EXAMPLE, 0.0)


def test_moments_match_scipy_and_leave_out_nan() -> None:
    returns = np.random.default_rng(1).standard_t(5, 300) * 0.006 + 0.0004
    moments = moments_of(np.append(returns, np.nan))
    assert moments.days == 300
    assert moments.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert moments.skew == pytest.approx(stats.skew(returns))
    assert moments.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False))


def test_standard_error_covers_the_spread_of_estimates() -> None:
    rng = np.random.default_rng(2)
    estimates = [moments_of(rng.standard_normal(250) + 0.1).sharpe for _ in range(2000)]
    predicted = sharpe_standard_error(Moments(sharpe=0.1, days=250))
    assert predicted == pytest.approx(np.std(estimates), rel=0.06)


def test_probability_is_half_at_the_estimate_itself() -> None:
    assert probabilistic_sharpe(EXAMPLE, EXAMPLE.sharpe) == pytest.approx(0.5)


@settings(max_examples=40, deadline=None)
@given(
    trials=st.integers(1, 5000),
    variance=st.floats(1e-6, 0.1),
    sharpe=st.floats(-0.2, 0.2),
    days=st.integers(20, 3000),
)
def test_more_trials_or_more_spread_deflate_more(
    trials: int, variance: float, sharpe: float, days: int
) -> None:
    moments = Moments(sharpe, days)
    here = deflated_sharpe(moments, trials, variance)
    assert 0.0 <= deflated_sharpe(moments, trials + 1, variance) <= here <= 1.0
    assert deflated_sharpe(moments, trials, variance * 2) <= here
    assert deflated_sharpe(Moments(sharpe + 0.01, days), trials, variance) >= here


@pytest.mark.parametrize(("trials", "variance"), [(0, 1.0), (5, -1.0)])
def test_impossible_counts_are_refused(trials: int, variance: float) -> None:
    with pytest.raises(ValueError, match="expected >= 1 and >= 0"):
        expected_maximum(trials, variance)


@pytest.mark.parametrize("returns", [np.zeros(10), np.array([0.01]), np.full(5, np.nan)])
def test_moments_need_returns_that_vary(returns: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 2 that differ"):
        moments_of(returns)


def test_effective_trials_between_one_and_all() -> None:
    rng = np.random.default_rng(3)
    noise, market = rng.standard_normal((500, 20)), rng.standard_normal((500, 1))
    assert effective_trials(noise) == pytest.approx(20, abs=0.6)
    assert effective_trials(np.repeat(market, 20, axis=1)) == pytest.approx(1.0)
    mixed = effective_trials(np.sqrt(0.8) * market + np.sqrt(0.2) * noise)
    assert mixed == pytest.approx(0.8 + 0.2 * 20, abs=0.8)
    assert effective_trials(noise[:, :1]) == 1.0
    with pytest.raises(ValueError, match="do not vary"):
        effective_trials(np.c_[noise[:, 0], np.zeros(500)])


def test_trials_without_a_series_count_as_alike_as_the_others() -> None:
    rng = np.random.default_rng(4)
    market, noise = rng.standard_normal((500, 1)), rng.standard_normal((500, 10))
    series = np.sqrt(0.5) * (market + noise)
    known = effective_trials(series)
    mean = (10 - known) / 9
    assert effective_trials(series, 40) == pytest.approx(mean + (1 - mean) * 40)
    assert effective_trials(series[:, :1], 7) == 7.0


@pytest.mark.parametrize("trials", [1, 5, 60])
def test_luck_does_as_well_as_often_as_simulated_studies_say(trials: int) -> None:
    best = np.random.default_rng(5).standard_normal((20_000, trials)).max(axis=1)
    for t in (0.5, 2.0):
        assert luck_probability(t, trials) == pytest.approx(np.mean(best > t), abs=0.012)
    found = stats.kstest([luck_probability(t, trials) for t in best[:1000]], "uniform")
    assert found.pvalue > 0.01, "under luck alone the probability is uniform: it is a p-value"


def test_the_serial_error_is_mertens_for_independent_days_and_wider_for_persistent_ones() -> None:
    rng = np.random.default_rng(6)
    skewed = rng.gamma(2.0, size=2000) - 1.8
    mertens = sharpe_standard_error(moments_of(skewed))
    assert serial_sharpe_error(skewed) == pytest.approx(mertens, rel=0.15)
    persistent = np.convolve(rng.standard_normal(2009) + 0.05, np.ones(10), "valid")
    assert serial_sharpe_error(persistent) > 2.0 * sharpe_standard_error(moments_of(persistent))


def test_overfitting_by_the_mean_is_not_swayed_by_the_deviation() -> None:
    days = np.arange(320) % 2 * 2.0 - 1.0
    calm, better = 0.02 + 0.01 * days, 0.05 + 0.5 * days
    series = np.column_stack([calm, better])
    assert pbo_cscv(series, ratio=False) == 0.0
    assert pbo_logits(series, ratio=False).min() > 0.0


def _brute_force(returns: np.ndarray, blocks: int) -> list[float]:
    parts = np.array_split(np.arange(len(returns)), blocks)
    logits = []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[b] for b in chosen])
        outside = np.setdiff1d(np.arange(len(returns)), inside)
        sharpe_in, sharpe_out = (returns[i].mean(0) / returns[i].std(0) for i in (inside, outside))
        omega = stats.rankdata(sharpe_out)[sharpe_in.argmax()] / (returns.shape[1] + 1)
        logits.append(math.log(omega / (1 - omega)))
    return logits


@pytest.mark.parametrize("days", [64, 77])
def test_logits_equal_brute_force(days: int) -> None:
    returns = np.random.default_rng(4).standard_normal((days, 7)) + 0.05
    np.testing.assert_allclose(pbo_logits(returns, 6), _brute_force(returns, 6), atol=1e-12)


def test_all_splits_of_sixteen_blocks_are_used() -> None:
    assert len(pbo_logits(np.random.default_rng(5).standard_normal((160, 3)))) == math.comb(16, 8)


def test_noise_averages_to_one_half() -> None:
    rng = np.random.default_rng(6)
    values = [pbo_cscv(rng.standard_normal((240, 10)), blocks=10) for _ in range(60)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.08)
    assert np.std(values) > 0.1  # so one matrix alone proves nothing


def test_a_truly_better_trial_is_not_overfit() -> None:
    returns = np.random.default_rng(7).standard_normal((250, 20))
    returns[:, 3] += 0.5
    assert pbo_cscv(returns) < 0.02


def test_a_trial_good_in_each_half_only_is_overfit() -> None:
    """Trial j earns in block j and loses everywhere else: the best inside is the worst outside."""
    blocks, days = 8, 10
    returns = np.random.default_rng(8).standard_normal((blocks * days, blocks)) * 0.01
    for j in range(blocks):
        returns[:, j] -= 0.1
        returns[j * days : (j + 1) * days, j] += 1.0
    assert pbo_cscv(returns, blocks) == 1.0


def test_equal_trials_share_the_middle_rank() -> None:
    column = np.random.default_rng(9).standard_normal((64, 1))
    equal = np.repeat(column, 9, axis=1)
    np.testing.assert_allclose(pbo_logits(equal, 4), 0.0, atol=1e-12)
    assert pbo_cscv(equal, 4) == 1.0  # a choice among equals is luck


def test_constant_trials_count_as_zero_sharpe() -> None:
    returns = np.c_[np.zeros(64), np.random.default_rng(10).standard_normal(64) - 3.0]
    assert np.isfinite(pbo_logits(returns, 4)).all()
    assert pbo_cscv(returns, 4) == 0.0  # doing nothing is best inside and outside


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-4, 10.0))
def test_order_and_scale_of_trials_do_not_matter(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal((48, 6))
    shuffled = returns[:, rng.permutation(6)] * scale
    assert pbo_cscv(shuffled, 6) == pytest.approx(pbo_cscv(returns, 6))


def test_days_missing_in_any_trial_are_left_out() -> None:
    returns = np.random.default_rng(11).standard_normal((80, 5))
    gaps = np.insert(returns, 17, np.nan, axis=0)
    gaps[17, 2:] = 1.0
    np.testing.assert_array_equal(pbo_logits(gaps, 4), pbo_logits(returns, 4))


@pytest.mark.parametrize(
    ("shape", "blocks", "words"),
    [
        ((80, 1), 4, "at least 2 to choose"),
        ((80, 3), 5, "even"),
        ((20, 3), 16, "common"),
        ((9,), 2, "shape"),
    ],
)
def test_unusable_input_is_refused(shape: tuple[int, ...], blocks: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pbo_logits(np.random.default_rng(0).standard_normal(shape), blocks)
