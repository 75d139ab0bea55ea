"""FAN and SAN: the windowed forms have the papers' properties, the causal ones equal their end."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from atft_hpo.model.normalization import (
    EPSILON,
    FAN_CHANNELS,
    SAN_CHANNELS,
    fan_channels,
    fan_decompose,
    lsq_decompose,
    san_channels,
    san_statistics,
)

DECOMPOSE = {"dft": fan_decompose, "lsq": lsq_decompose}
kinds = pytest.mark.parametrize("kind", ["dft", "lsq"])
windows = st.tuples(st.integers(4, 33), st.integers(1, 3), st.integers(0, 2**31)).filter(
    lambda t: t[1] < t[0] // 2 + 1
)
quick = settings(max_examples=25, deadline=None)


def draw(length: int, seed: int, count: int = 6) -> Tensor:
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed))


def trailing(x_NTF: Tensor, length: int) -> Tensor:
    """[N, T, F] → [N, T, F, length], zeros before the first day."""
    return pad(x_NTF, (0, 0, length - 1, 0)).unfold(1, length, 1)


@kinds
@quick
@given(windows)
def test_parts_add_up_and_are_orthogonal(kind: str, shape: tuple[int, int, int]) -> None:
    length, k, seed = shape
    x = draw(length, seed)
    main, residual = DECOMPOSE[kind](x, k)
    assert torch.allclose(main + residual, x, atol=2e-6)
    assert (main * residual).sum(-1).abs().max() < 1e-4 * x.square().sum(-1).max()


@quick
@given(windows)
def test_main_component_has_at_most_k_bins(shape: tuple[int, int, int]) -> None:
    length, k, seed = shape
    amplitude = torch.fft.rfft(fan_decompose(draw(length, seed), k)[0]).abs()
    occupied = (amplitude > 1e-4 * amplitude.amax(-1, keepdim=True)).sum(-1)
    assert occupied.max() <= k


@kinds
@quick
@given(windows, st.floats(-50, 50).filter(lambda a: abs(a) > 0.02))
def test_homogeneous(kind: str, shape: tuple[int, int, int], factor: float) -> None:
    length, k, seed = shape
    x = draw(length, seed)
    once, scaled = DECOMPOSE[kind](x, k)[0], DECOMPOSE[kind](factor * x, k)[0]
    assert torch.allclose(scaled, factor * once, atol=2e-5 * abs(factor) * 3)


def test_not_additive() -> None:
    x, y = draw(24, 0), draw(24, 1)
    apart = fan_decompose(x, 2)[0] + fan_decompose(y, 2)[0]
    assert (fan_decompose(x + y, 2)[0] - apart).abs().max() > 0.1


@quick
@given(windows, st.integers(1, 30))
def test_commutes_with_circular_shift(shape: tuple[int, int, int], shift: int) -> None:
    length, k, seed = shape
    x = draw(length, seed)
    shifted = fan_decompose(x.roll(shift, -1), k)[0]
    assert torch.allclose(shifted, fan_decompose(x, k)[0].roll(shift, -1), atol=1e-5)


def test_gradient_is_right_away_from_ties() -> None:
    x = draw(9, 3, count=2).double().requires_grad_()
    # the module works in float32, so steps are wide and tolerances follow
    assert torch.autograd.gradcheck(
        lambda x: fan_decompose(x, 2), (x,), eps=1e-2, atol=1e-3, rtol=1e-2
    )


@kinds
def test_a_nan_stays_in_its_series(kind: str) -> None:
    x_NTF = torch.randn(2, 20, 3)
    x_NTF[1, 9, 2] = torch.nan
    clean = torch.ones(2, 3, dtype=torch.bool)
    clean[1, 2] = False
    finite = fan_channels(x_NTF, 8, 2, kind).isfinite().all(dim=3).transpose(1, 2)
    assert finite[clean].all()
    assert not finite[1, 2, 9]


@kinds
@pytest.mark.parametrize(("lookback", "k"), [(8, 2), (9, 1), (9, 3), (20, 2), (21, 4)])
def test_causal_fan_is_the_last_position_of_the_windowed(kind: str, lookback: int, k: int) -> None:
    x_NTF = torch.randn(3, 30, 2)
    x_NTF[0, :12] = 0.0  # listed later
    x_NTF[1, 20:] = 0.0  # delisted
    channels = fan_channels(x_NTF, lookback, k, kind)
    main_L, residual_L = DECOMPOSE[kind](trailing(x_NTF, lookback), k)
    std = residual_L.std(-1, correction=0)
    energy_main, energy_residual = main_L.square().sum(-1), residual_L.square().sum(-1)
    expected = {
        "residual": residual_L[..., -1] / (std + EPSILON),
        "main": main_L[..., -1],
        "energy": ((EPSILON + energy_main) / (EPSILON + energy_residual)).log(),
        "scale": (EPSILON + std).log(),
    }
    for number, name in enumerate(FAN_CHANNELS):
        assert torch.allclose(channels[..., number], expected[name], atol=2e-3), name
    assert torch.allclose(channels[..., 1], main_L[..., -1], atol=1e-5)


@kinds
def test_k_zero_bypasses_exactly(kind: str) -> None:
    x = draw(12, 0)
    main, residual = DECOMPOSE[kind](x, 0)
    assert not main.any()
    assert torch.equal(residual, x)
    assert not fan_channels(torch.randn(2, 9, 3), 8, 0, kind)[..., 1].any()


def test_least_squares_finds_a_cycle_between_bins() -> None:
    """A cycle of any period is no DFT bin of 40 days: the bins leak, the fit does not."""
    day, period_M1 = torch.arange(40.0), torch.linspace(4.3, 29.7, 50).unsqueeze(1)
    x_ML = torch.sin(2 * torch.pi * day / period_M1 + period_M1)
    left = {kind: decompose(x_ML, 1)[1][:, -1] for kind, decompose in DECOMPOSE.items()}
    assert left["dft"].square().mean() > 0.05
    assert left["lsq"].square().mean() < 0.002
    assert lsq_decompose(x_ML, 2)[1].square().sum() < lsq_decompose(x_ML, 1)[1].square().sum()


def test_least_squares_refits_jointly() -> None:
    """After k steps the residual is orthogonal to every sinusoid chosen, not only to the last."""
    day = torch.arange(32.0)
    angle = 2 * torch.pi / 32 * day
    x = (torch.cos(3 * angle) + 0.7 * torch.sin(7.25 * angle)).unsqueeze(0)
    main, residual = lsq_decompose(x, 2)
    assert residual.square().mean() < 0.01 * x.square().mean()
    assert (main * residual).sum().abs() < 1e-4


@kinds
def test_the_past_does_not_hear_of_the_future(kind: str) -> None:
    x_NTF = torch.randn(3, 30, 2)
    changed = x_NTF.clone()
    changed[:, 17:] += torch.randn(3, 13, 2)
    for function in (lambda x: fan_channels(x, 8, 2, kind), lambda x: san_channels(x, (5,))):
        assert torch.equal(function(x_NTF)[:, :17], function(changed)[:, :17])
        assert not torch.equal(function(x_NTF)[:, 17:], function(changed)[:, 17:])


@pytest.mark.parametrize(("lookback", "slice_days"), [(20, 5), (17, 5), (8, 8), (9, 2)])
def test_causal_san_is_the_last_slice_of_the_windowed(lookback: int, slice_days: int) -> None:
    x_NTF = torch.randn(3, 30, 2)
    mean, std = san_statistics(trailing(x_NTF, lookback), slice_days)
    assert mean.shape[-1] == lookback // slice_days
    last_mean, scale = mean[..., -1], std[..., -1] + EPSILON
    expected = {"standard": (x_NTF - last_mean) / scale, "log_std": scale.log(), "mean": last_mean}
    channels = san_channels(x_NTF, (slice_days, 2 * slice_days))
    assert torch.equal(channels[..., :3], san_channels(x_NTF, (slice_days,)))
    assert torch.equal(channels[..., 3:], san_channels(x_NTF, (2 * slice_days,)))
    for number, name in enumerate(SAN_CHANNELS):
        assert torch.allclose(channels[..., number], expected[name], atol=1e-4), name


def test_san_statistics_by_hand() -> None:
    mean, std = san_statistics(torch.tensor([9.0, 1.0, 3.0, 2.0, 6.0]), 2)
    assert mean.tolist() == [2.0, 4.0]
    assert std.tolist() == [1.0, 2.0]


def test_constant_series_is_finite_with_finite_gradient() -> None:
    x_NTF = torch.ones(1, 12, 1, requires_grad=True)
    total = fan_channels(x_NTF, 8, 2, "dft").sum() + san_channels(x_NTF, (3,)).sum()
    total.backward()
    assert total.isfinite()
    assert x_NTF.grad is not None
    assert x_NTF.grad.isfinite().all()
