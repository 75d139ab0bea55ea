"""Attribution day by day against plain least squares and SciPy."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, rankdata, spearmanr

from atft_hpo.data.neutralization.styles import Exposures
from atft_hpo.evaluation.attribution import (
    Attribution,
    attribute,
    rank_autocorrelation,
)
from atft_hpo.evaluation.series import Centred, Ranked, masked_ranks
from atft_hpo.evaluation.yardsticks import PureYardstick

NAMES = ("beta_120d", "reversal_5d")


def draw(seed: int, days: int = 8, stocks: int = 60) -> dict[str, Any]:
    """Scores and returns that share a style and some truth of their own."""
    rng = np.random.default_rng(seed)
    styles_DNK = rng.standard_normal((days, stocks, 2)).astype(np.float32)
    own_DN = rng.standard_normal((days, stocks))
    score_DN = own_DN + styles_DNK[..., 0] + 0.5 * rng.standard_normal((days, stocks))
    return_DN = own_DN - styles_DNK[..., 0] + rng.standard_normal((days, stocks))
    return_DN[rng.random((days, stocks)) < 0.05] = np.nan
    return {
        "score_DN": score_DN.astype(np.float32),
        "return_DN": return_DN.astype(np.float32),
        "alive_DN": rng.random((days, stocks)) < 0.9,
        "exposures": Exposures(
            NAMES, np.tile(np.arange(stocks) % 4, (len(styles_DNK), 1)), styles_DNK
        ),
    }


def attributed(data: dict[str, Any]) -> Attribution:
    score_DN, return_DN = data["score_DN"], data["return_DN"]
    used_DN = data["alive_DN"] & np.isfinite(score_DN) & np.isfinite(return_DN)
    exposures, count_D = data["exposures"], used_DN.sum(axis=1)
    rank = Ranked.of(masked_ranks(score_DN, used_DN), count_D)
    variance_D = Centred.of(score_DN, used_DN).square_D / np.maximum(count_D, 1)
    pure = PureYardstick.of(return_DN, used_DN, exposures.sector_DN, exposures.styles_DNK)
    return attribute(score_DN, rank, variance_D, pure)


def residual(data: dict[str, Any], day: int, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    sector = data["exposures"].sector_DN[0, mask]
    x = np.column_stack([sector[:, None] == np.arange(4), data["exposures"].styles_DNK[day, mask]])
    return np.asarray(values - x @ np.linalg.lstsq(x, values, rcond=None)[0])


@pytest.mark.parametrize("day", [0, 5])
def test_a_day_by_hand(day: int) -> None:
    data = draw(0)
    found = attributed(data)
    mask = data["alive_DN"][day] & np.isfinite(data["return_DN"][day])
    score = data["score_DN"][day, mask].astype(np.float64)
    ranks = rankdata(data["return_DN"][day, mask])
    label = residual(data, day, mask, norm.ppf((ranks - 0.5) / mask.sum()))
    own = residual(data, day, mask, score)
    assert found.pure_rank_ic[day] == pytest.approx(spearmanr(own, label)[0], abs=1e-6)
    assert found.style_r2[day] == pytest.approx(1.0 - own.var() / score.var())
    for k in range(2):
        style = data["exposures"].styles_DNK[day, mask, k]
        expected = np.corrcoef(rankdata(score), style)[0, 1]
        assert found.style_exposure_DK[day, k] == pytest.approx(expected, abs=1e-6)


def test_pure_rank_ic_sees_through_a_style_that_went_wrong() -> None:
    data = draw(1, days=40)
    raw = [
        spearmanr(score, truth, nan_policy="omit")[0]
        for score, truth in zip(data["score_DN"], data["return_DN"], strict=True)
    ]
    assert np.mean(raw) < 0.15
    assert attributed(data).pure_rank_ic.mean() > 0.4


def test_days_without_enough_stocks_or_own_forecast_have_no_value() -> None:
    data = draw(2)
    data["alive_DN"][1, 25:] = False
    data["score_DN"][2] = 3.0 * data["exposures"].styles_DNK[2, :, 1] + 7.0
    data["score_DN"][3] = 0.25
    found = attributed(data)
    assert np.isnan(found.pure_rank_ic).tolist() == [False, True, True, True] + [False] * 4
    assert found.constant.tolist() == [False, False, True, True] + [False] * 4
    assert np.isnan(found.style_r2[3])


def test_other_days_do_not_matter() -> None:
    data = draw(3)
    before = attributed(data)
    data["score_DN"][4:] *= -1.0
    data["return_DN"][4:] = data["score_DN"][4:]
    after = attributed(data)
    np.testing.assert_array_equal(after.pure_rank_ic[:4], before.pure_rank_ic[:4])
    assert (after.pure_rank_ic[4:] > before.pure_rank_ic[4:]).all()


def test_autocorrelation_is_that_of_neighbouring_days() -> None:
    rng = np.random.default_rng(4)
    score_DN = np.round(rng.standard_normal((40, 50)), 1)  # more days than are worked on at once
    score_DN[2] = np.exp(score_DN[1])
    score_DN[30] = 0.5
    alive_DN = rng.random((40, 50)) < 0.8
    alive_DN[2] = alive_DN[1]
    alive_DN[4, 15:] = False
    rank_DN = masked_ranks(score_DN, alive_DN)
    found = rank_autocorrelation(rank_DN)
    assert found[2] == pytest.approx(1.0)
    undefined = [0, 4, 5, 30, 31]  # none before, few stocks, constant
    assert np.flatnonzero(np.isnan(found)).tolist() == undefined
    for day in set(range(40)) - set(undefined):
        both = alive_DN[day - 1] & alive_DN[day]
        expected = np.corrcoef(rank_DN[day, both], rank_DN[day - 1, both])[0, 1]
        assert found[day] == pytest.approx(expected, abs=1e-12)
