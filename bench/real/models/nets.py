"""Small plain nets: an LSTM, a per-feature non-linear MLP, a graph net without time.

    score_SNQ = Lstm(features=96, horizons=2)(batch)

Each takes a slice as the product cuts it (`data.sampling.batch.Batch`) and forecasts its S days.
"""

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.sampling.edges import EDGE_ATTRIBUTES
from atft_hpo.model.graph import DenseGATv2

HIDDEN: Final = 32
DROPOUT: Final = 0.3
HEADS: Final = 2
CELLS: Final = 7
"""Pieces of the encoding of a feature."""


class PiecewiseLinear(nn.Module):
    """Each feature's own piecewise-linear function, summed: [..., F] → [..., H].

    Encoding of Gorishniy et al. 2022, "On Embeddings for Numerical Features", equation 1, with
    knots at quantiles of a standard normal, since features are normalised per day; then linear.
    """

    left: Tensor
    width: Tensor

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        inner = torch.special.ndtri(torch.arange(1, CELLS) / CELLS)
        knots = torch.cat([torch.tensor([-3.0]), inner, torch.tensor([3.0])])
        self.register_buffer("left", knots[:-1])
        self.register_buffer("width", knots.diff())
        self.linear = nn.Linear(features * CELLS, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Any leading axes."""
        cells = ((x.unsqueeze(-1) - self.left) / self.width).clamp(0.0, 1.0)
        out: Tensor = self.linear(cells.flatten(-2))
        return out


class Mlp(nn.Module):
    """Non-linear in each feature, then an MLP. No time, no neighbours."""

    def __init__(self, features: int, horizons: int) -> None:
        super().__init__()
        self.encode = PiecewiseLinear(features, 2 * HIDDEN)
        self.head = _head(2 * HIDDEN, horizons)

    def forward(self, batch: Batch) -> Tensor:
        """[S, N, Q]."""
        x_SNF = batch.x_NTF[:, batch.context :].float().transpose(0, 1)
        out: Tensor = self.head(self.encode(x_SNF))
        return out


class Lstm(nn.Module):
    """Linear projection, LSTM over the days of the slice, head."""

    def __init__(self, features: int, horizons: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        self.head = _head(HIDDEN, horizons)

    def forward(self, batch: Batch) -> Tensor:
        """[S, N, Q]."""
        state_NTH, _ = self.lstm(F.relu(self.project(batch.x_NTF.float())))
        out: Tensor = self.head(state_NTH[:, batch.context :].transpose(0, 1))
        return out


class GraphNet(nn.Module):
    """Per-feature encoding, two layers of graph attention over the day's neighbours. No time."""

    def __init__(self, features: int, horizons: int) -> None:
        super().__init__()
        self.encode = PiecewiseLinear(features, HIDDEN)
        self.layers = nn.ModuleList(
            DenseGATv2(HIDDEN, HIDDEN, HEADS, EDGE_ATTRIBUTES, DROPOUT) for _ in range(2)
        )
        self.head = _head(HIDDEN, horizons)

    def forward(self, batch: Batch) -> Tensor:
        """[S, N, Q]."""
        state_SNH = self.encode(batch.x_NTF[:, batch.context :].float().transpose(0, 1))
        near_SNK = batch.neighbours_SNK
        mask_SNK = near_SNK >= 0
        for layer in self.layers:
            message_SNH = layer(state_SNH, near_SNK.clamp(min=0), batch.edge_SNKE, mask_SNK)
            state_SNH = state_SNH + F.elu(message_SNH)
        out: Tensor = self.head(state_SNH)
        return out


NETS: Final[dict[str, Callable[[int, int], nn.Module]]] = {
    "lstm": Lstm,
    "mlp": Mlp,
    "graph": GraphNet,
}


def _head(inputs: int, horizons: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(inputs, HIDDEN),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, horizons),
    )
