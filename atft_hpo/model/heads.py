"""From a state to forecasts: a point and non-crossing quantiles per horizon.

Forecasts are in units of the training label (uniform ranks of zero mean and unit variance), and
the quantiles start at that label's own. Always float32.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from numpy.typing import NDArray
from torch import Tensor, nn

from atft_hpo.model.layers import gather_neighbours

START_SPREAD = 0.1
"""Cross-sectional standard deviation of the untrained point forecast, about."""
START_MIX = 0.25
"""Part of the other horizons in a base forecast at the start."""
START_SPREAD_ON_BASE = 0.01
"""The same on top of a base forecast, which it is not to drown."""


class Forecast(NamedTuple):
    """What the model says of each (day, stock); dead cells hold numbers without meaning."""

    point_SNQ: Tensor
    """float32: expected label per horizon; the score that portfolios rank."""
    quantiles_SNQP: Tensor
    """float32: ascending along P."""

    def shifted(self, by_SNQ: Tensor) -> "Forecast":
        """The point and all quantiles moved alike."""
        return Forecast(self.point_SNQ + by_SNQ, self.quantiles_SNQP + by_SNQ.unsqueeze(-1))


class ForecastHeads(nn.Module):
    """A linear point forecast, and quantiles as cumulated softplus steps from a centre."""

    def __init__(
        self, hidden: int, horizons: int, levels: Sequence[float], spread: float = START_SPREAD
    ) -> None:
        super().__init__()
        self.horizons, self.centre = horizons, len(levels) // 2
        self.point = nn.Linear(hidden, horizons)
        self.quantile = nn.Linear(hidden, horizons * len(levels))
        for weight in (self.point.weight, self.quantile.weight):
            nn.init.normal_(weight, std=spread * hidden**-0.5)
        nn.init.zeros_(self.point.bias)
        with torch.no_grad():
            self.quantile.bias.copy_(self._label_quantiles(levels).repeat(horizons))

    def forward(self, state_SNH: Tensor) -> Forecast:
        """[S, N, H] → point [S, N, Q], quantiles [S, N, Q, P]."""
        with torch.autocast(state_SNH.device.type, enabled=False):
            state_SNH = state_SNH.float()
            raw_SNQP = self.quantile(state_SNH).unflatten(-1, (self.horizons, -1))
            return Forecast(self.point(state_SNH), self._cumulate(raw_SNQP))

    def _cumulate(self, raw_SNQP: Tensor) -> Tensor:
        below, centre, above = raw_SNQP.tensor_split([self.centre, self.centre + 1], dim=-1)
        down = F.softplus(below).flip(-1).cumsum(-1).flip(-1)
        up = F.softplus(above).cumsum(-1)
        return torch.cat([centre - down, centre, centre + up], dim=-1)

    def _label_quantiles(self, levels: Sequence[float]) -> Tensor:
        """Biases with which the quantiles are those of a uniform label of unit variance."""
        value_P = 3**0.5 * (2 * torch.tensor(levels) - 1)
        steps = value_P.diff().expm1().log()
        return torch.cat([steps[: self.centre], value_P[self.centre, None], steps[self.centre :]])


class MainForecast(nn.Module):
    """FAN's forecast of the main component: a small network on (n, x) of the FAN columns.

    Its output is added to the point forecast and shifts all quantiles alike, times a strength
    per horizon that starts at zero.
    """

    def __init__(self, columns: int, hidden: int, horizons: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(2 * columns, hidden), nn.ReLU(), nn.Linear(hidden, horizons)
        )
        self.strength = nn.Parameter(torch.zeros(horizons))

    def forward(self, main_SNF: Tensor, x_SNF: Tensor) -> Tensor:
        """[S, N, F_fan] twice → the shift, float32 [S, N, Q]."""
        shift_SNQ: Tensor = self.network(torch.cat([main_SNF, x_SNF], dim=-1)).float()
        return self.strength * shift_SNQ


def mixed_horizons(horizons: int) -> NDArray[np.float32]:
    """[Q, Q] that a base forecast is multiplied with at the start: ¾ own, ¼ the others' mean."""
    mix = START_MIX if horizons > 1 else 0.0
    own_QQ = np.eye(horizons)
    others_QQ = (1.0 - own_QQ) / max(horizons - 1, 1)
    return ((1.0 - mix) * own_QQ + mix * others_QQ).astype(np.float32)


class Correction(nn.Module):
    """Puts the net's forecast on top of a base forecast of the same horizons.

    The base sees each stock by itself. Two things are added that it cannot know. Neighbours: a
    learned part of a stock's own forecast, per horizon, gives way to the mean of the neighbours'
    (the smoothing of Huang et al. 2021, "Combining Label Propagation and Simple Models Out-performs
    Graph Neural Networks", section 3.2, one step); it starts at `smoothing`. Horizons: a matrix
    mixes them, since a label of five days says about tomorrow what a noisy label of one day does
    not, and the other way round; it starts at `mixed_horizons`.
    """

    def __init__(self, horizons: int, smoothing: float) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.from_numpy(mixed_horizons(horizons)))
        self.neighbours_part = nn.Parameter(torch.full((horizons,), smoothing))

    def forward(self, forecast: Forecast, base_SNQ: Tensor, neighbours_SNK: Tensor) -> Forecast:
        """The point and all quantiles moved by strength · (own + neighbours_part · (mean − own)).

        The mean is the neighbours' own base.

        neighbours_SNK int64, -1 = none; a stock without any keeps its own base.
        """
        smooth_SNQ = base_SNQ + self.neighbours_part * _pull_of_neighbours(base_SNQ, neighbours_SNK)
        return forecast.shifted(smooth_SNQ @ self.strength.T)


def _pull_of_neighbours(base_SNQ: Tensor, neighbours_SNK: Tensor) -> Tensor:
    """[S, N, Q] the neighbours' mean less a stock's own; 0 where there is no neighbour."""
    present_SNK1 = (neighbours_SNK >= 0).unsqueeze(-1)
    theirs_SNKQ = gather_neighbours(base_SNQ, neighbours_SNK.clamp(min=0))
    total_SNQ = theirs_SNKQ.masked_fill(~present_SNK1, 0.0).sum(dim=2)
    count_SN1 = present_SNK1.sum(dim=2)
    return torch.where(count_SN1 > 0, total_SNQ / count_SN1.clamp(min=1) - base_SNQ, 0.0)
