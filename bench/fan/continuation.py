"""Windowed FAN, SAN and RevIN around DLinear: continuing a series in its own units.

The stock model uses the decompositions of `atft_hpo.model.normalization` as causal channels, since
its target is not in the units of its inputs. This module is the papers' own task, the next O values
of a series from its last L, where what was taken away before the backbone is forecast and given
back:

    model = Forecaster(FAN(96, 336, k=4), DLinear(96, 336))
    forecast_BCO = model(x_BCL)
    loss = model.loss(x_BCL, y_BCO)

Axes: B windows, C channels, L values seen, O values ahead; time comes last, so that weights are
shared over channels unless they carry a C.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from atft_hpo.errors import ConfigError
from atft_hpo.model.normalization import fan_decompose, san_statistics

EPSILON = 1e-5
"""Added to RevIN's variances and SAN's standard deviations, as both papers' code has it."""
MOVING_AVERAGE = 25
"""DLinear's kernel."""

Statistics = tuple[Tensor, ...]
"""What a normalisation took away or forecast, and needs to denormalise."""


class Normalization(nn.Module):
    """Takes something away from a window, gives it back to the forecast; this base: nothing."""

    def normalise(self, x_BCL: Tensor) -> tuple[Tensor, Statistics]:
        """The backbone's input [B, C, L], and what `denormalise` needs."""
        return x_BCL, ()

    def denormalise(self, y_BCO: Tensor, statistics: Statistics) -> Tensor:
        """The forecast [B, C, O] from the backbone's output."""
        return y_BCO

    def loss(self, backbone_BCO: Tensor, statistics: Statistics, target_BCO: Tensor) -> Tensor:
        """Scalar, added to the squared error of the forecast."""
        return target_BCO.new_zeros(())


class FAN(Normalization):
    """Frequency adaptive normalisation (Ye et al., NeurIPS 2024, section 3).

        n = irFFT(rFFT(x) · 1_𝒦),  r = x − n           𝒦: the k bins of largest amplitude
        n̂ = W3·ReLU(W2·[ReLU(W1·n); x])                W1: L→64, W2: (64+L)→128, W3: 128→O
        ŷ = backbone(r) + n̂
        loss = MSE(ŷ, y) + MSE(n̂, n(y))                n(y), r(y): the same split of y itself

    With `residual_loss` the loss has a third term, MSE(backbone(r), r(y)), as in the authors' code.
    k = 0 is an exact bypass: nothing is taken away, nothing forecast.

    Raises ConfigError if k is negative or exceeds half of a window or of its continuation.
    """

    def __init__(self, length: int, ahead: int, k: int, residual_loss: bool = False) -> None:
        super().__init__()
        most = min(length, ahead) // 2
        if not 0 <= k <= most:
            raise ConfigError(
                f"FAN's k is {k}; {length} values in and {ahead} ahead allow 0 to {most}"
            )
        self.k, self.ahead, self.residual_loss = k, ahead, residual_loss
        self.main_hidden = nn.Linear(length, 64)
        self.joint_hidden = nn.Linear(64 + length, 128)
        self.output = nn.Linear(128, ahead)

    def normalise(self, x_BCL: Tensor) -> tuple[Tensor, Statistics]:
        """The residual r, and the forecast n̂ [B, C, O] of the main component."""
        if self.k == 0:
            return x_BCL, (x_BCL.new_zeros(*x_BCL.shape[:-1], self.ahead),)
        main_BCL, residual_BCL = fan_decompose(x_BCL, self.k)
        return residual_BCL, (self.predict(main_BCL, x_BCL),)

    def predict(self, main_BCL: Tensor, x_BCL: Tensor) -> Tensor:
        """Forecast [B, C, O] of the main component's continuation."""
        hidden = F.relu(self.main_hidden(main_BCL))
        hidden = F.relu(self.joint_hidden(torch.cat([hidden, x_BCL], dim=-1)))
        forecast: Tensor = self.output(hidden)
        return forecast

    def denormalise(self, y_BCO: Tensor, statistics: Statistics) -> Tensor:
        """Backbone's forecast of the residual plus n̂."""
        return y_BCO + statistics[0]

    def loss(self, backbone_BCO: Tensor, statistics: Statistics, target_BCO: Tensor) -> Tensor:
        """MSE of the main component, and of the residual if asked for."""
        if self.k == 0:
            return target_BCO.new_zeros(())
        main_BCO, residual_BCO = fan_decompose(target_BCO, self.k)
        loss = F.mse_loss(statistics[0], main_BCO)
        if self.residual_loss:
            loss = loss + F.mse_loss(backbone_BCO, residual_BCO)
        return loss


class RevIN(Normalization):
    """Reversible instance normalisation (Kim et al., ICLR 2022, section 2).

        x' = γ_c·(x − μ)/√(σ² + ε) + β_c,   ŷ = √(σ² + ε)·(backbone(x') − β_c)/γ_c + μ

    μ, σ² of the window and channel (population variance, no gradient); γ = 1, β = 0 at the start.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain_C1 = nn.Parameter(torch.ones(channels, 1))
        self.shift_C1 = nn.Parameter(torch.zeros(channels, 1))

    def normalise(self, x_BCL: Tensor) -> tuple[Tensor, Statistics]:
        """x', and μ, √(σ² + ε) [B, C, 1]."""
        mean_BC1 = x_BCL.mean(-1, keepdim=True).detach()
        scale_BC1 = (x_BCL.var(-1, keepdim=True, correction=0) + EPSILON).sqrt().detach()
        standard_BCL = (x_BCL - mean_BC1) / scale_BC1
        return standard_BCL * self.gain_C1 + self.shift_C1, (mean_BC1, scale_BC1)

    def denormalise(self, y_BCO: Tensor, statistics: Statistics) -> Tensor:
        """The inverse; ε² keeps a gain that training drove to zero from dividing by it."""
        mean_BC1, scale_BC1 = statistics
        return (y_BCO - self.shift_C1) / (self.gain_C1 + EPSILON**2) * scale_BC1 + mean_BC1


class SAN(Normalization):
    """Slice-level adaptive normalisation (Liu et al., NeurIPS 2023, section 3).

        μ_i, σ_i of slice i of P values;   x̄ = (x − μ_i)/(σ_i + ε)
        μ̂ = w1_c·MLP(μ − ρ, x − ρ) + w2_c·ρ,   σ̂ = MLP(σ, x)          ρ: the window's mean
        ŷ = backbone(x̄)·(σ̂_j + ε) + μ̂_j                             in slice j of the continuation

    Trained in two stages: `statistics_loss` first, then the backbone with these weights frozen.

    Raises ConfigError if slices do not divide the window or the continuation.
    """

    def __init__(self, length: int, ahead: int, slice_length: int, channels: int) -> None:
        super().__init__()
        if slice_length < 1 or length % slice_length or ahead % slice_length:
            raise ConfigError(
                f"SAN's slices of {slice_length} values do not divide {length} values in and "
                f"{ahead} ahead; choose a common divisor"
            )
        self.slice_length = slice_length
        slices_in, slices_ahead = length // slice_length, ahead // slice_length
        self.mean = _SliceNetwork(slices_in, length, slices_ahead, nn.Tanh())
        self.std = _SliceNetwork(slices_in, length, slices_ahead, nn.ReLU())
        self.weight_2C1 = nn.Parameter(torch.ones(2, channels, 1))

    def normalise(self, x_BCL: Tensor) -> tuple[Tensor, Statistics]:
        """x̄, and μ̂, σ̂ [B, C, slices ahead]."""
        mean_BCl, std_BCl = san_statistics(x_BCL, self.slice_length)
        standard_BCL = (x_BCL - self._spread(mean_BCl)) / (self._spread(std_BCl) + EPSILON)
        return standard_BCL, self._predict(mean_BCl, std_BCl, x_BCL)

    def denormalise(self, y_BCO: Tensor, statistics: Statistics) -> Tensor:
        """Each slice scaled and shifted by its forecast statistics."""
        mean_BCo, std_BCo = statistics
        return y_BCO * (self._spread(std_BCo) + EPSILON) + self._spread(mean_BCo)

    def statistics_loss(self, x_BCL: Tensor, target_BCO: Tensor) -> Tensor:
        """First stage: squared error of μ̂ and σ̂, averaged over both."""
        predicted = self._predict(*san_statistics(x_BCL, self.slice_length), x_BCL)
        actual = san_statistics(target_BCO, self.slice_length)
        return F.mse_loss(torch.cat(predicted, -1), torch.cat(actual, -1))

    def _predict(self, mean_BCl: Tensor, std_BCl: Tensor, x_BCL: Tensor) -> tuple[Tensor, Tensor]:
        rho_BC1 = x_BCL.mean(-1, keepdim=True)
        mean_BCo = self.weight_2C1[0] * self.mean(mean_BCl - rho_BC1, x_BCL - rho_BC1)
        return mean_BCo + self.weight_2C1[1] * rho_BC1, F.relu(self.std(std_BCl, x_BCL))

    def _spread(self, statistic_BCl: Tensor) -> Tensor:
        """One value per slice → one per time step."""
        return statistic_BCl.repeat_interleave(self.slice_length, dim=-1)


class _SliceNetwork(nn.Module):
    """Next slices' statistic from the seen slices' and the window: two layers, 512 units each."""

    def __init__(self, slices_in: int, length: int, slices_ahead: int, act: nn.Module) -> None:
        super().__init__()
        self.slices = nn.Linear(slices_in, 512)
        self.window = nn.Linear(length, 512)
        self.act = act
        self.output = nn.Linear(1024, slices_ahead)

    def forward(self, statistic_BCl: Tensor, x_BCL: Tensor) -> Tensor:
        hidden = torch.cat([self.slices(statistic_BCl), self.window(x_BCL)], dim=-1)
        forecast: Tensor = self.output(self.act(hidden))
        return forecast


class DLinear(nn.Module):
    """Decomposition-linear backbone (Zeng et al., AAAI 2023), one pair of maps for all channels.

        t = moving average of x (25 values, edges replicated);   ŷ = W_s·(x − t) + b_s + W_t·t + b_t

    Both matrices start at 1/L throughout, as in the authors' code.
    """

    def __init__(self, length: int, ahead: int) -> None:
        super().__init__()
        self.seasonal = nn.Linear(length, ahead)
        self.trend = nn.Linear(length, ahead)
        nn.init.constant_(self.seasonal.weight, 1 / length)
        nn.init.constant_(self.trend.weight, 1 / length)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Forecast [B, C, O]."""
        half = MOVING_AVERAGE // 2
        padded = F.pad(x_BCL, (half, half), mode="replicate")
        trend_BCL = F.avg_pool1d(padded, MOVING_AVERAGE, stride=1)
        forecast: Tensor = self.seasonal(x_BCL - trend_BCL) + self.trend(trend_BCL)
        return forecast


class _Parts(NamedTuple):
    forecast_BCO: Tensor
    backbone_BCO: Tensor
    statistics: Statistics


class Forecaster(nn.Module):
    """A backbone between a normalisation and its inverse."""

    def __init__(self, normalization: Normalization, backbone: nn.Module) -> None:
        super().__init__()
        self.normalization = normalization
        self.backbone = backbone

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Forecast [B, C, O]."""
        return self._parts(x_BCL).forecast_BCO

    def loss(self, x_BCL: Tensor, target_BCO: Tensor) -> Tensor:
        """Squared error of the forecast plus the normalisation's own terms, a scalar."""
        parts = self._parts(x_BCL)
        own = self.normalization.loss(parts.backbone_BCO, parts.statistics, target_BCO)
        return F.mse_loss(parts.forecast_BCO, target_BCO) + own

    def _parts(self, x_BCL: Tensor) -> _Parts:
        normal_BCL, statistics = self.normalization.normalise(x_BCL)
        backbone_BCO = self.backbone(normal_BCL)
        forecast_BCO = self.normalization.denormalise(backbone_BCO, statistics)
        return _Parts(forecast_BCO, backbone_BCO, statistics)
