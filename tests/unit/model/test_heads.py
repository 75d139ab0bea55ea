"""Quantiles never cross, start at the label's own, and move with the main forecast."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.model.heads import Correction, Forecast, ForecastHeads, MainForecast

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
levels = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=7, unique=True).map(sorted)


@settings(max_examples=30, deadline=None)
@given(levels, st.floats(0.01, 100.0), st.integers(0, 2**31))
def test_quantiles_never_cross(chosen: list[float], size: float, seed: int) -> None:
    torch.manual_seed(seed)
    heads = ForecastHeads(6, 3, chosen)
    with torch.no_grad():
        heads.quantile.weight.normal_(0.0, size)
    quantiles_SNQP = heads(torch.randn(4, 5, 6)).quantiles_SNQP
    assert quantiles_SNQP.shape == (4, 5, 3, len(chosen))
    assert (quantiles_SNQP.diff(dim=-1) >= 0).all()


def test_start_at_the_quantiles_of_a_uniform_label_of_unit_variance() -> None:
    quantiles = ForecastHeads(6, 2, LEVELS)(torch.zeros(1, 1, 6)).quantiles_SNQP
    expected = 3**0.5 * (2 * torch.tensor(LEVELS) - 1)
    assert torch.allclose(quantiles[0, 0], expected.expand(2, -1), atol=1e-5)


def test_untrained_forecast_has_spread() -> None:
    point = ForecastHeads(16, 2, LEVELS)(torch.randn(3, 200, 16)).point_SNQ
    assert (point.std(dim=1) > 0.02).all()
    assert (point.std(dim=1) < 0.5).all()


def test_stays_float32_under_autocast() -> None:
    heads = ForecastHeads(8, 2, LEVELS)
    state = torch.randn(2, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = heads(state)
    assert torch.equal(inside.point_SNQ, heads(state).point_SNQ)


def test_main_forecast_is_silent_at_zero_strength_with_a_live_gradient() -> None:
    main = MainForecast(3, 4, 2)
    shift = main(torch.randn(5, 6, 3), torch.randn(5, 6, 3))
    assert not shift.any()
    shift.sum().backward()
    assert main.strength.grad is not None
    assert main.strength.grad.all()


def test_shift_moves_point_and_quantiles_alike() -> None:
    forecast = Forecast(torch.randn(2, 3, 2), torch.randn(2, 3, 2, 5))
    by = torch.randn(2, 3, 2)
    moved = forecast.shifted(by)
    assert torch.equal(moved.point_SNQ, forecast.point_SNQ + by)
    assert torch.allclose(
        moved.quantiles_SNQP - forecast.quantiles_SNQP, by.unsqueeze(-1), atol=1e-6
    )


ALONE = torch.full((2, 3, 2), -1)
"""Neighbours of two days and three stocks without any."""


def test_a_correction_takes_a_part_from_the_neighbours_mean() -> None:
    forecast = Forecast(torch.zeros(1, 4, 1), torch.zeros(1, 4, 1, 5))
    base = torch.tensor([[[1.0], [2.0], [4.0], [torch.nan]]])  # of a dead stock: nobody's
    neighbours = torch.tensor([[[1, 2], [0, -1], [-1, -1], [-1, -1]]])
    correction = Correction(1, smoothing=0.5)
    found = correction(forecast, base, neighbours).point_SNQ
    expected = torch.tensor([(1.0 + 3.0) / 2, (2.0 + 1.0) / 2, 4.0])
    torch.testing.assert_close(found[0, :3, 0], expected)
    found[0, 0].sum().backward()
    assert correction.neighbours_part.grad is not None
    torch.testing.assert_close(correction.neighbours_part.grad, torch.tensor([3.0 - 1.0]))
    with torch.no_grad():
        correction.neighbours_part.fill_(0.0)
    assert torch.equal(correction(forecast, base, neighbours).point_SNQ[0, :3], base[0, :3])


def test_a_correction_begins_on_top_of_the_base_and_mixes_its_horizons() -> None:
    forecast = Forecast(torch.randn(2, 3, 2), torch.randn(2, 3, 2, 5))
    base, correction = torch.randn(2, 3, 2), Correction(2, 0.5)
    started = forecast.point_SNQ + 0.75 * base + 0.25 * base.flip(-1)
    torch.testing.assert_close(correction(forecast, base, ALONE).point_SNQ, started)
    assert torch.equal(Correction(1, 0.0).strength, torch.ones(1, 1))
    torch.testing.assert_close(Correction(4, 0.0).strength.sum(dim=1), torch.ones(4))
    with torch.no_grad():
        correction.strength.copy_(torch.tensor([[1.0, 0.5], [0.0, 2.0]]))
    moved = correction(forecast, base, ALONE)
    expected = torch.stack([base[..., 0] + 0.5 * base[..., 1], 2.0 * base[..., 1]], dim=-1)
    torch.testing.assert_close(moved.point_SNQ - forecast.point_SNQ, expected)
    torch.testing.assert_close(
        moved.quantiles_SNQP - forecast.quantiles_SNQP, expected[..., None].expand(-1, -1, -1, 5)
    )
