"""Daily results against their definitions, one day at a time, in any number of threads."""

from dataclasses import fields
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.stats import pearsonr, rankdata, spearmanr

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.data.neutralization.pure import pure_label, residualise
from atft_hpo.data.neutralization.styles import Exposures
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation.attribution import Attribution
from atft_hpo.evaluation.daily import HorizonDays, daily_results
from atft_hpo.evaluation.portfolio import hold_tranches, portfolio_returns, target_weights
from atft_hpo.evaluation.yardsticks import Yardsticks

DAYS, STOCKS, SECTORS = 40, 50, 3


def config_of(sizing: str = "zscore") -> Config:
    """Horizons of 1 and 5 days."""
    return build_config(
        {
            "data": {"horizons_days": [1, 5]},
            "phases": {name: {"horizon_weights": [1.0]} for name in PHASE_NAMES},
            "portfolio": {"sizing": sizing},
        }
    )


def draw(seed: int) -> tuple[Any, Yardsticks]:
    """Scores and labels with all that real ones have: gaps, ties, dead, small and constant days."""
    rng = np.random.default_rng(seed)
    score_DNQ = rng.standard_normal((DAYS, STOCKS, 2)).astype(np.float32)
    returns_DNQ = 0.02 * rng.standard_normal((DAYS, STOCKS, 2)).astype(np.float32)
    styles_DNK = rng.uniform(-1.7, 1.7, (DAYS, STOCKS, 2)).astype(np.float32)
    sector_DN = rng.integers(0, SECTORS, (DAYS, STOCKS)).astype(np.int16)
    alive_DN = rng.random((DAYS, STOCKS)) < rng.uniform(0.6, 1.0)
    days = rng.permutation(DAYS)
    score_DNQ[days[:3]] = np.round(score_DNQ[days[:3]])
    returns_DNQ[days[2:5]] = np.round(returns_DNQ[days[2:5]], 2)
    alive_DN[days[5]] = False
    alive_DN[days[6], 15:] = False
    score_DNQ[days[7]] = 0.25
    returns_DNQ[days[8]] = 0.01
    returns_DNQ[days[9]] = np.nan
    score_DNQ[days[10]] = 3.0 * styles_DNK[days[10], :, :1] - 1.0
    score_DNQ[days[11], : rng.integers(STOCKS)] = np.nan
    returns_DNQ[rng.random(returns_DNQ.shape) < 0.05] = np.nan
    score_DNQ[~alive_DN] = np.nan
    dates = np.arange("2021-01-01", DAYS, dtype="datetime64[D]")
    exposures = Exposures(("beta_120d", "reversal_5d"), sector_DN, styles_DNK)
    trading = Trading.without_friction(returns_DNQ[..., 0], dates)
    return score_DNQ, Yardsticks(returns_DNQ, alive_DN, dates, trading, exposures)


def correlation(a: Any, b: Any, how: Any) -> float:
    """NaN where one is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return float(how(a.astype(np.float64), b.astype(np.float64)).statistic)


def expected_of(score_DN: Any, return_DN: Any, truth: Yardsticks, day: int) -> dict[str, Any]:
    """Of one day and horizon, by definition."""
    score, label = score_DN[day], return_DN[day]
    used = truth.alive_DN[day] & np.isfinite(score) & np.isfinite(label)
    enough, constant = used.sum() >= 20, used.sum() == 0 or np.ptp(score[used]) == 0
    undefined = not enough or constant or np.ptp(label[used]) == 0
    assert truth.exposures is not None
    sector_1N, style_1NK = (
        given[day][None] for given in (truth.exposures.sector_DN, truth.exposures.styles_DNK)
    )
    own = residualise(score[None], used[None], sector_1N, style_1NK)[0]
    pure = pure_label(np.where(used, label, np.nan)[None], used[None], sector_1N, style_1NK)[0]
    left = np.isfinite(own)
    return {
        "ic": np.nan if undefined else correlation(score[used], label[used], pearsonr),
        "rank_ic": np.nan if undefined else correlation(score[used], label[used], spearmanr),
        "constant": enough and constant,
        "variance": score[used].astype(np.float64).var() if enough else np.nan,
        "pure_rank_ic": correlation(own[left], pure[left], spearmanr),
        "pure_constant": left.any() and np.ptp(own[left]) == 0,
        "style_exposure": [
            np.nan if not enough or constant else correlation(rankdata(score[used]), s, pearsonr)
            for s in style_1NK[0, used].T
        ],
    }


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_each_day_is_as_defined(seed: int) -> None:
    score_DNQ, truth = draw(seed)
    for q, found in enumerate(daily_results(score_DNQ, truth, config_of())):
        score_DN, return_DN = score_DNQ[..., q], truth.returns_DNQ[..., q]
        assert found.own is not None
        for day in range(DAYS):
            expected = expected_of(score_DN, return_DN, truth, day)
            for name in ("ic", "rank_ic", "variance"):
                value = getattr(found, name)[day]
                assert value == pytest.approx(expected[name], abs=1e-6, nan_ok=True), (name, day)
            pure = found.own.pure_rank_ic[day]
            assert pure == pytest.approx(expected["pure_rank_ic"], abs=1e-9, nan_ok=True), day
            exposure_K = found.own.style_exposure_DK[day]
            assert exposure_K == pytest.approx(expected["style_exposure"], abs=1e-6, nan_ok=True)
            assert found.constant[day] == expected["constant"]
            assert found.own.constant[day] == expected["pure_constant"]


@pytest.mark.parametrize("sizing", ["zscore", "decile", "uncertainty"])
def test_the_portfolio_is_that_of_the_whole_range(sizing: str) -> None:
    score_DNQ, truth = draw(1)
    config = config_of(sizing)
    risk_DNQ = np.random.default_rng(2).uniform(0.5, 2.0, score_DNQ.shape)
    for q, horizon in enumerate(config.data.horizons_days):
        found = daily_results(score_DNQ, truth, config, risk_DNQ)[q].portfolio
        targets = target_weights(
            score_DNQ[..., q], truth.alive_DN, config.portfolio, risk_DNQ[..., q]
        )
        held = hold_tranches(targets, horizon)
        expected = portfolio_returns(held, truth.trading, config.portfolio.cost_bps)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def assert_same(one: HorizonDays | Attribution, other: HorizonDays | Attribution) -> None:
    for field in fields(one):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(ours, Attribution):
            assert_same(ours, theirs)
        else:
            np.testing.assert_array_equal(ours, theirs)


def test_results_depend_on_neither_threads_nor_what_was_kept() -> None:
    score_DNQ, truth = draw(3)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(daily_results(score_DNQ, truth, config_of()))
    torch.set_num_threads(before)
    found.append(daily_results(score_DNQ, draw(3)[1], config_of()))
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert_same(one, other)


def test_a_risk_that_is_missing_is_an_error() -> None:
    score_DNQ, truth = draw(4)
    with pytest.raises(ValueError, match="needs the risk"):
        daily_results(score_DNQ, truth, config_of("uncertainty"))
