"""Residuals against plain least squares, and what they must be blind to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from atft_hpo.data.neutralization.pure import MIN_FREEDOM, pure_label, residualise

seeds = st.integers(0, 10_000)


def cross_sections(seed: int, days: int = 4, stocks: int = 60, styles: int = 5) -> dict:
    """Values, used cells, sectors (one of a single stock) and correlated styles with gaps."""
    rng = np.random.default_rng(seed)
    styles_DNK = rng.normal(size=(days, stocks, styles)).astype(np.float32)
    styles_DNK[..., 1] = 0.9 * styles_DNK[..., 0] + 0.1 * styles_DNK[..., 1]
    styles_DNK[rng.random((days, stocks)) < 0.1] = 0.0
    sector_DN = rng.integers(1, 5, (days, stocks))
    sector_DN[:, 0] = 9
    return {
        "values_DN": rng.normal(size=(days, stocks)),
        "used_DN": rng.random((days, stocks)) < 0.9,
        "sector_DN": sector_DN,
        "styles_DNK": styles_DNK,
    }


def regressors(data: dict, day: int) -> np.ndarray:
    """[n, J + K] dummies and styles of the used stocks."""
    used_N = data["used_DN"][day]
    sector_n = data["sector_DN"][day, used_N]
    dummies = (sector_n[:, None] == np.unique(sector_n)).astype(float)
    return np.column_stack([dummies, data["styles_DNK"][day, used_N]])


@settings(deadline=None)
@given(seeds)
def test_residuals_equal_those_of_least_squares_with_dummies(seed: int) -> None:
    data = cross_sections(seed)
    found_DN = residualise(**data)
    for day, used_N in enumerate(data["used_DN"]):
        x, y = regressors(data, day), data["values_DN"][day, used_N]
        expected = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        np.testing.assert_allclose(found_DN[day, used_N], expected, atol=1e-9)
        assert np.isnan(found_DN[day, ~used_N]).all()


@settings(deadline=None)
@given(seeds)
def test_residuals_are_orthogonal_to_every_regressor(seed: int) -> None:
    data = cross_sections(seed)
    data["styles_DNK"][..., 3] = data["styles_DNK"][..., 2] - 2 * data["styles_DNK"][..., 4]
    data["styles_DNK"][..., 0] = 0.0
    found_DN = residualise(**data)
    for day, used_N in enumerate(data["used_DN"]):
        residual = found_DN[day, used_N]
        assert np.linalg.norm(residual) > 1.0
        np.testing.assert_allclose(regressors(data, day).T @ residual, 0.0, atol=1e-6)


@settings(deadline=None)
@given(seeds, st.floats(-5, 5), st.floats(-5, 5))
def test_adding_exposures_changes_nothing(seed: int, sector_size: float, style_size: float) -> None:
    data = cross_sections(seed)
    rng = np.random.default_rng(seed)
    loads_K = style_size * rng.normal(size=data["styles_DNK"].shape[2])
    by_sector = sector_size * rng.normal(size=10)
    added = data["values_DN"] + by_sector[data["sector_DN"]] + data["styles_DNK"] @ loads_K
    np.testing.assert_allclose(
        residualise(**{**data, "values_DN": added}), residualise(**data), atol=1e-9
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_values_that_are_all_style_leave_exactly_nothing(dtype: type, offset: float) -> None:
    data = cross_sections(3, days=20)
    loads_K = np.array([1.0, -2.0, 0.5, 0.3, 4.0])
    style_DN = 0.01 * (data["styles_DNK"] @ loads_K) + 0.2 * data["sector_DN"] + offset
    found_DN = residualise(**{**data, "values_DN": style_DN.astype(dtype)})
    assert (found_DN[data["used_DN"]] == 0.0).all()
    own_DN = (style_DN + 1e-3 * data["values_DN"]).astype(dtype)
    found_DN = residualise(**{**data, "values_DN": own_DN})
    assert (np.nanstd(found_DN, axis=1) > 5e-4).all()


def test_a_stock_alone_in_its_sector_has_no_residual() -> None:
    data = cross_sections(1)
    data["used_DN"][:, 0] = True
    np.testing.assert_allclose(residualise(**data)[:, 0], 0.0, atol=1e-12)


def test_days_with_too_few_stocks_have_none() -> None:
    data = cross_sections(2, stocks=60)
    sector_DN = np.tile(np.repeat([0, 1, 2], 20), (4, 1))
    data |= {"sector_DN": sector_DN, "used_DN": np.ones((4, 60), dtype=bool)}
    data["used_DN"][1, 3 + 5 + MIN_FREEDOM :] = False  # two sectors only: one more than needed
    data["used_DN"][2, 2 + 5 + MIN_FREEDOM - 1 :] = False
    data["used_DN"][3] = False
    found_DN = residualise(**data)
    assert np.isfinite(found_DN).any(axis=1).tolist() == [True, True, False, False]
    assert np.isfinite(residualise(**data, min_freedom=1)).any(axis=1).tolist()[2]


def test_duplicated_styles_cost_no_freedom() -> None:
    data = cross_sections(4, styles=2)
    twice = np.concatenate([data["styles_DNK"]] * 3, axis=2)
    np.testing.assert_allclose(
        residualise(**{**data, "styles_DNK": twice}), residualise(**data), atol=1e-9
    )


def test_a_day_does_not_hear_of_others() -> None:
    data = cross_sections(5, days=6)
    before = residualise(**data)
    data["values_DN"][3:] *= -7.0
    data["styles_DNK"][3:] += 1.0
    data["used_DN"][3:] = True
    np.testing.assert_array_equal(residualise(**data)[:3], before[:3])


def test_the_pure_label_ranks_first_and_residualises_then() -> None:
    data = cross_sections(6)
    returns_DN = np.exp(3 * data["values_DN"]).astype(np.float32)
    returns_DN[0, 5] = np.nan
    found_DN = pure_label(returns_DN, data["used_DN"], data["sector_DN"], data["styles_DNK"])
    for day, used_N in enumerate(data["used_DN"] & np.isfinite(returns_DN)):
        rank = rankdata(returns_DN[day, used_N])
        y = norm.ppf((rank - 0.5) / used_N.sum())
        x = regressors({**data, "used_DN": used_N[None].repeat(4, 0)}, day)
        expected = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        np.testing.assert_allclose(found_DN[day, used_N], expected, atol=1e-5)
        assert np.isnan(found_DN[day, ~used_N]).all()


def test_raw_returns_would_leave_the_volatility_style_in_the_ranks() -> None:
    """Why the order matters: skewed returns of volatile stocks, without a premium in the mean."""
    rng = np.random.default_rng(0)
    days, stocks = 200, 200
    style_N = np.linspace(-1.7, 1.7, stocks)
    styles_DNK = np.broadcast_to(style_N[:, None], (days, stocks, 1)).astype(np.float32)
    returns_DN = np.exp(0.5 * style_N) * (rng.exponential(size=(days, stocks)) - 1.0)
    used_DN, sector_DN = np.ones_like(returns_DN, dtype=bool), np.zeros((days, stocks), int)

    def exposure(residual_DN: np.ndarray) -> float:
        ranks_DN = rankdata(residual_DN, axis=1)
        return float(np.mean([np.corrcoef(row, style_N)[0, 1] for row in ranks_DN]))

    raw = exposure(residualise(returns_DN, used_DN, sector_DN, styles_DNK))
    ranked = exposure(pure_label(returns_DN, used_DN, sector_DN, styles_DNK))
    assert abs(ranked) < 0.5 * abs(raw)
    assert abs(raw) > 0.1
