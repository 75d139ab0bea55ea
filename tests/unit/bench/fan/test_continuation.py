"""Windowed FAN, SAN, RevIN and DLinear against their papers' equations, written out in numpy."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from atft_hpo.errors import ConfigError
from atft_hpo.model.normalization import fan_decompose
from bench.fan.continuation import (
    EPSILON,
    FAN,
    MOVING_AVERAGE,
    SAN,
    DLinear,
    Forecaster,
    Normalization,
    RevIN,
)

LENGTH, AHEAD, CHANNELS, WINDOWS, SLICE = 24, 36, 3, 5, 6
quick = settings(max_examples=20, deadline=None)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """Every test starts from seed 0 and one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def draw(length: int = LENGTH, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(WINDOWS, CHANNELS, length, generator=g).cumsum(-1)


def numpy_main(x: np.ndarray, k: int) -> np.ndarray:
    """The k largest bins of the one-sided spectrum, one series at a time."""
    spectrum = np.fft.rfft(x.astype(np.float64))
    keep = np.argsort(-np.abs(spectrum), kind="stable")[:k]
    only = np.zeros_like(spectrum)
    only[keep] = spectrum[keep]
    return np.fft.irfft(only, n=len(x))


def numpy_linear(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    assert isinstance(layer, nn.Linear)
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def make(method: str) -> Normalization:
    if method == "fan":
        return FAN(LENGTH, AHEAD, 2)
    if method == "san":
        return SAN(LENGTH, AHEAD, SLICE, CHANNELS)
    return RevIN(CHANNELS) if method == "revin" else Normalization()


methods = pytest.mark.parametrize("method", ["none", "revin", "san", "fan"])


@methods
def test_shapes_and_gradients_of_every_parameter(method: str) -> None:
    model = Forecaster(make(method), DLinear(LENGTH, AHEAD))
    assert model(draw()).shape == (WINDOWS, CHANNELS, AHEAD)
    model.loss(draw(), draw(AHEAD, 1)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@methods
def test_windows_do_not_touch_each_other(method: str) -> None:
    model = Forecaster(make(method), DLinear(LENGTH, AHEAD))
    x = draw()
    assert torch.allclose(model(x)[2:3], model(x[2:3]), atol=1e-5)


# --- FAN -----------------------------------------------------------------------------------


@quick
@given(st.integers(1, 12), st.integers(0, 2**31))
def test_fan_takes_away_the_largest_bins(k: int, seed: int) -> None:
    x = draw(seed=seed)
    residual, _ = FAN(LENGTH, AHEAD, k).normalise(x)
    for window, left in zip(x.flatten(0, 1), residual.flatten(0, 1), strict=True):
        wanted = window.double().numpy() - numpy_main(window.numpy(), k)
        assert np.allclose(left.numpy(), wanted, atol=1e-4)


def test_fan_predictor_is_the_papers_network() -> None:
    fan, x = FAN(LENGTH, AHEAD, 2), draw()
    _, (forecast,) = fan.normalise(x)
    window = x[1, 2].double().numpy()
    hidden = np.maximum(numpy_linear(fan.main_hidden, numpy_main(window, 2)), 0)
    joint = np.maximum(numpy_linear(fan.joint_hidden, np.concatenate([hidden, window])), 0)
    assert (len(hidden), len(joint)) == (64, 128)
    assert np.allclose(forecast[1, 2].detach().numpy(), numpy_linear(fan.output, joint), atol=1e-5)


def test_fan_bypasses_exactly_at_zero() -> None:
    backbone = DLinear(LENGTH, AHEAD)
    bypass, plain = Forecaster(FAN(LENGTH, AHEAD, 0), backbone), Forecaster(make("none"), backbone)
    x, y = draw(), draw(AHEAD, 1)
    assert torch.equal(bypass(x), plain(x))
    assert torch.equal(bypass.loss(x, y), plain.loss(x, y))


def test_fan_gives_back_what_it_took_when_the_main_component_is_known() -> None:
    class Oracle(FAN):
        def predict(self, main_BCL: Tensor, x_BCL: Tensor) -> Tensor:
            return fan_decompose(y, self.k)[0]

    x, y = draw(), draw(AHEAD, 1)
    fan = Oracle(LENGTH, AHEAD, 3)
    _, statistics = fan.normalise(x)
    residual_of_future = fan_decompose(y, 3)[1]
    assert torch.allclose(fan.denormalise(residual_of_future, statistics), y, atol=1e-5)
    assert fan.loss(residual_of_future, statistics, y) == 0


@pytest.mark.parametrize("residual_loss", [False, True])
def test_fan_loss_terms(residual_loss: bool) -> None:
    fan = FAN(LENGTH, AHEAD, 2, residual_loss)
    model, x, y = Forecaster(fan, DLinear(LENGTH, AHEAD)), draw(), draw(AHEAD, 1)
    residual, (main_forecast,) = fan.normalise(x)
    backbone = model.backbone(residual)
    main = np.stack([numpy_main(s, 2) for s in y.flatten(0, 1).numpy()]).reshape(y.shape)

    def mse(a: Tensor, b: np.ndarray) -> float:
        return float(((a.detach().double().numpy() - b) ** 2).mean())

    wanted = mse(backbone + main_forecast, y.numpy()) + mse(main_forecast, main)
    wanted += mse(backbone, y.numpy() - main) if residual_loss else 0.0
    assert float(model.loss(x, y).detach()) == pytest.approx(wanted, rel=1e-5)


def test_fan_refuses_impossible_k() -> None:
    with pytest.raises(ConfigError, match="k is 13; 24 values in and 36 ahead allow 0 to 12"):
        FAN(LENGTH, AHEAD, 13)
    with pytest.raises(ConfigError, match="-1"):
        FAN(LENGTH, AHEAD, -1)


# --- RevIN -----------------------------------------------------------------------------------


@quick
@given(st.floats(0.5, 3), st.floats(-2, 2), st.integers(0, 2**31))
def test_revin_inverts_itself(gain: float, shift: float, seed: int) -> None:
    revin, x = RevIN(CHANNELS), draw(seed=seed)
    nn.init.constant_(revin.gain_C1, gain)
    nn.init.constant_(revin.shift_C1, shift)
    normal, statistics = revin.normalise(x)
    assert torch.allclose(revin.denormalise(normal, statistics), x, atol=1e-4)


def test_revin_standardises_each_window() -> None:
    normal, _ = RevIN(CHANNELS).normalise(draw())
    assert normal.mean(-1).abs().max() < 1e-5
    assert torch.allclose(normal.std(-1, correction=0), torch.ones(WINDOWS, CHANNELS), atol=1e-3)


def test_revin_is_equivariant_to_the_units_of_a_window() -> None:
    model, x = Forecaster(RevIN(CHANNELS), DLinear(LENGTH, AHEAD)), draw()
    assert torch.allclose(model(7 * x + 3), 7 * model(x) + 3, atol=1e-2)


# --- SAN -------------------------------------------------------------------------------------


def test_san_standardises_each_slice() -> None:
    x = draw()
    normal, _ = make("san").normalise(x)
    slices = x[1, 2].double().numpy().reshape(-1, SLICE)
    mean, std = slices.mean(1, keepdims=True), slices.std(1, keepdims=True)
    wanted = ((slices - mean) / (std + EPSILON)).reshape(-1)
    assert np.allclose(normal[1, 2].detach().numpy(), wanted, atol=1e-4)


def test_san_forecasts_slice_statistics_and_gives_them_back() -> None:
    san, x = SAN(LENGTH, AHEAD, SLICE, CHANNELS), draw()
    nn.init.uniform_(san.weight_2C1)
    _, statistics = san.normalise(x)
    window = x[1, 2].double().numpy()
    slices = window.reshape(-1, SLICE)
    rho, own, level = window.mean(), *san.weight_2C1[:, 2, 0].detach().double().numpy()

    def network(
        net: nn.Module, statistic: np.ndarray, values: np.ndarray, act: np.ufunc
    ) -> np.ndarray:
        slices_in, window_in = net.get_submodule("slices"), net.get_submodule("window")
        hidden = [numpy_linear(slices_in, statistic), numpy_linear(window_in, values)]
        return numpy_linear(net.get_submodule("output"), act(np.concatenate(hidden)))

    def relu(v: np.ndarray) -> np.ndarray:
        return np.maximum(v, 0)

    mean = own * network(san.mean, slices.mean(1) - rho, window - rho, np.tanh) + level * rho
    std = relu(network(san.std, slices.std(1), window, relu))
    assert np.allclose(statistics[0][1, 2].detach().numpy(), mean, atol=1e-4)
    assert np.allclose(statistics[1][1, 2].detach().numpy(), std, atol=1e-4)
    y = draw(AHEAD, 1)
    back = san.denormalise(y, statistics)[1, 2].detach().numpy()
    wanted = y[1, 2].numpy().reshape(-1, SLICE) * (std + EPSILON)[:, None] + mean[:, None]
    assert np.allclose(back, wanted.reshape(-1), atol=1e-3)


def test_san_statistics_loss_compares_means_and_deviations_of_slices() -> None:
    san, x, y = SAN(LENGTH, AHEAD, SLICE, CHANNELS), draw(), draw(AHEAD, 1)
    _, (mean, std) = san.normalise(x)
    slices = y.double().numpy().reshape(WINDOWS, CHANNELS, -1, SLICE)
    squares = [
        (mean.detach().numpy() - slices.mean(-1)) ** 2,
        (std.detach().numpy() - slices.std(-1)) ** 2,
    ]
    assert float(san.statistics_loss(x, y).detach()) == pytest.approx(np.mean(squares), rel=1e-4)


@pytest.mark.parametrize("slice_length", [0, 5, 9, 8])
def test_san_refuses_slices_that_do_not_divide(slice_length: int) -> None:
    with pytest.raises(ConfigError, match="do not divide 24 values in and 36 ahead"):
        SAN(LENGTH, AHEAD, slice_length, CHANNELS)


# --- DLinear ---------------------------------------------------------------------------------


def test_dlinear_against_numpy() -> None:
    backbone, x = DLinear(LENGTH, AHEAD), draw()
    for parameter in backbone.parameters():
        nn.init.normal_(parameter)
    window, half = x[1, 2].double().numpy(), MOVING_AVERAGE // 2
    padded = np.concatenate([[window[0]] * half, window, [window[-1]] * half])
    trend = np.array([padded[i : i + MOVING_AVERAGE].mean() for i in range(LENGTH)])
    wanted = numpy_linear(backbone.seasonal, window - trend) + numpy_linear(backbone.trend, trend)
    assert np.allclose(backbone(x)[1, 2].detach().numpy(), wanted, atol=1e-3)


def test_dlinear_starts_as_the_mean_of_the_window() -> None:
    backbone, x = DLinear(LENGTH, AHEAD), draw()
    offset = backbone.seasonal.bias + backbone.trend.bias
    wanted = x.mean(-1, keepdim=True) + offset
    assert torch.allclose(backbone(x), wanted, atol=1e-5)
    assert MOVING_AVERAGE == 25
