"""Yardsticks are those of the cells in use, and made once for the same ones."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from atft_hpo.config.schema import PortfolioConfig
from atft_hpo.data.neutralization.pure import residualise
from atft_hpo.data.neutralization.styles import Exposures, exposures_of
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation.yardsticks import Yardsticks

DAYS, STOCKS = 20, 60


def draw(seed: int = 0) -> tuple[Yardsticks, Any]:
    """Yardsticks of two horizons with gaps, and a forecast of every cell."""
    rng = np.random.default_rng(seed)
    returns_DNQ = np.round(rng.standard_normal((DAYS, STOCKS, 2)), 1).astype(np.float32)
    returns_DNQ[rng.random(returns_DNQ.shape) < 0.05] = np.nan
    returns_DNQ[3] = 0.5
    styles_DNK = rng.standard_normal((DAYS, STOCKS, 2)).astype(np.float32)
    exposures = Exposures(
        ("beta_120d", "reversal_5d"), np.tile(np.arange(STOCKS) % 4, (DAYS, 1)), styles_DNK
    )
    alive_DN = rng.random((DAYS, STOCKS)) < 0.9
    alive_DN[7, 10:] = False
    dates = np.arange("2021-01-01", DAYS, dtype="datetime64[D]")
    trading = Trading.without_friction(returns_DNQ[..., 0], dates)
    score_DN = rng.standard_normal((DAYS, STOCKS)).astype(np.float32)
    return Yardsticks(returns_DNQ, alive_DN, dates, trading, exposures), score_DN


def test_a_day_by_hand() -> None:
    yardsticks, score_DN = draw()
    found = yardsticks.yardstick(1, slice(4, 8), score_DN[4:8])
    used = yardsticks.alive_DN[5] & np.isfinite(yardsticks.returns_DNQ[5, :, 1])
    label = yardsticks.returns_DNQ[5, used, 1].astype(np.float64)
    np.testing.assert_array_equal(found.used_DN[1], used)
    assert found.count_D[1] == used.sum()
    np.testing.assert_allclose(found.label.values_DN[1, used], label - label.mean())
    np.testing.assert_array_equal(found.rank.values_DN[1, used], rankdata(label))
    assert not found.label.values_DN[1, ~used].any()
    assert not found.rank.values_DN[1, ~used].any()


def test_the_pure_part_by_hand() -> None:
    yardsticks, score_DN = draw()
    pure = yardsticks.yardstick(0, slice(0, 16), score_DN[:16]).pure
    exposures = yardsticks.exposures
    assert pure is not None
    assert exposures is not None
    used = yardsticks.alive_DN[5] & np.isfinite(yardsticks.returns_DNQ[5, :, 0])
    label = norm.ppf((rankdata(yardsticks.returns_DNQ[5, used, 0]) - 0.5) / used.sum())
    scores = np.full((1, STOCKS), np.nan, np.float32)
    scores[0, used] = label
    style = exposures.styles_DNK[5]
    own = residualise(scores, used[None], exposures.sector_DN[5:6], style[None])[0, used]
    np.testing.assert_allclose(pure.rank.values_DN[5, used], rankdata(own))
    np.testing.assert_allclose(pure.style_sum_DK[5], style[used].sum(axis=0), rtol=1e-4)
    np.testing.assert_allclose(
        pure.style_square_DK[5], used.sum() * style[used].var(axis=0), rtol=1e-4
    )
    nothing = [3, 7]  # constant labels, too few stocks
    assert np.flatnonzero(pure.rank.square_D == 0.0).tolist() == nothing
    assert not pure.rank.values_DN[nothing].any()


def test_the_same_cells_have_the_same_yardstick() -> None:
    yardsticks, score_DN = draw()
    days = slice(0, 16)
    found = yardsticks.yardstick(0, days, score_DN[days])
    assert yardsticks.yardstick(0, days, -score_DN[days]) is found
    assert yardsticks.yardstick(1, days, score_DN[days]) is not found
    assert yardsticks.yardstick(0, days, -score_DN[days]) is found
    unlabelled = np.where(np.isnan(yardsticks.returns_DNQ[days, :, 0]), np.nan, score_DN[days])
    assert yardsticks.yardstick(0, days, unlabelled) is found


def test_other_cells_have_another_which_is_that_of_these_cells_alone() -> None:
    yardsticks, score_DN = draw()
    days = slice(0, 16)
    whole = yardsticks.yardstick(0, days, score_DN[days])
    fewer_DN = score_DN[days].copy()
    fewer_DN[2, :9] = np.nan
    found = yardsticks.yardstick(0, days, fewer_DN)
    expected = draw()[0].yardstick(0, days, fewer_DN)
    assert found.used_DN.sum() < whole.used_DN.sum()
    np.testing.assert_array_equal(found.rank.values_DN, expected.rank.values_DN)
    assert found.pure is not None
    assert expected.pure is not None
    np.testing.assert_array_equal(found.pure.rank.values_DN, expected.pure.rank.values_DN)
    back = yardsticks.yardstick(0, days, score_DN[days])
    np.testing.assert_array_equal(back.rank.values_DN, whole.rank.values_DN)


def test_without_exposures_there_is_no_pure_part() -> None:
    full, score_DN = draw()
    plain = Yardsticks(full.returns_DNQ, full.alive_DN, full.dates, full.trading)
    days = slice(16, DAYS)
    found = plain.yardstick(0, days, score_DN[days])
    assert found.pure is None
    expected = full.yardstick(0, days, score_DN[days])
    np.testing.assert_array_equal(found.rank.values_DN, expected.rank.values_DN)


def test_of_a_panel_they_are_its_days(panel: Panel) -> None:
    days = range(100, 140)
    found = Yardsticks.of(panel, days, PortfolioConfig())
    assert found.exposures is not None
    np.testing.assert_array_equal(found.dates, panel.dates[100:140])
    np.testing.assert_array_equal(found.returns_DNQ, panel.targets[100:140])
    np.testing.assert_array_equal(found.alive_DN, panel.alive[100:140])
    expected = exposures_of(panel, days)
    assert found.exposures.names == expected.names
    np.testing.assert_array_equal(found.exposures.styles_DNK, expected.styles_DNK)


def test_an_unknown_horizon_is_an_error() -> None:
    yardsticks, score_DN = draw()
    with pytest.raises(IndexError):
        yardsticks.yardstick(2, slice(0, 16), score_DN[:16])
