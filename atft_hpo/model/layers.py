"""Gates, norms and gated residual networks: the small parts the whole model is made of.

Everything here works on the last axis and keeps the residual stream in float32: under bf16
autocast the matrix products run in bf16, sums and norms do not. Nothing here knows of time or
stocks.

Source: Lim et al. 2021, "Temporal Fusion Transformers", §4.1 (equations 2–5).
"""

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn


class Norm32(nn.LayerNorm):
    """Layer norm computed in, and returning, float32 whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → float32 [..., width]."""
        return super().forward(x.float())


class GatedLinearUnit(nn.Module):
    """σ(W₄x + b₄) ⊙ (W₅x + b₅), equation 5, as one matrix product."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] → [..., outputs]."""
        return F.glu(self.linear(x), dim=-1)


class GatedSkip(nn.Module):
    """LayerNorm(skip + GLU(dropout(x))): a part of the model the gate can close."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.gate = GatedLinearUnit(width, width)
        self.norm = Norm32(width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """[..., width] twice → float32 [..., width]."""
        out: Tensor = self.norm(skip.float() + self.gate(self.dropout(x)))
        return out


class GatedResidualNetwork(nn.Module):
    """LayerNorm(skip(x) + GLU(dropout(W₁ ELU(W₂x + b₂) + b₁))), equations 2–4.

    The skip is the identity where input and output widths are equal, else linear.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(inputs, hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.gate = GatedLinearUnit(hidden, outputs)
        self.skip = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs)
        self.norm = Norm32(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] → float32 [..., outputs]."""
        branch = self.gate(self.dropout(self.mix(F.elu(self.expand(x)))))
        out: Tensor = self.norm(self.skip(x).float() + branch)
        return out


def gather_neighbours(x_SNH: Tensor, neighbours_SNK: Tensor) -> Tensor:
    """[S, N, H], int64 [S, N, K] → [S, N, K, H].

    As an embedding look-up, whose backward on CPU is many times that of indexing.
    """
    slices, nodes = x_SNH.shape[:2]
    offset_S11 = torch.arange(0, slices * nodes, nodes, device=x_SNH.device).view(-1, 1, 1)
    return F.embedding(neighbours_SNK + offset_S11, x_SNH.reshape(slices * nodes, -1))
