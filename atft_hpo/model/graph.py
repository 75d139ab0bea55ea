"""Graph attention over each day's neighbour lists, with an encoder of its own.

    graph = GraphAttention(...)
    code_SNH = graph.encoder(x_NTF, context).transpose(0, 1)
    message_SNH = graph(code_SNH, state_SNH, alive_SN, neighbours_SNK, edge_SNKE)

The encoder reads the raw features besides the trunk's state: a feature that matters only to a
stock's neighbours gets no gradient before the graph phase, and the trunk has dropped it by then.
What comes back holds neighbours only: a stock without live neighbours gets exactly 0.

Source: Brody et al. 2022, "How Attentive are Graph Attention Networks?", equation 7, in a dense
form of fixed degree; tests hold it equal to torch_geometric.nn.GATv2Conv.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from atft_hpo.model.layers import gather_neighbours

LAG_DAYS = 6
"""Days the encoder mixes: lead–lag effects of lags 0 … 5 are within reach."""
NEGATIVE_SLOPE = 0.2
CORRELATION_PRIOR = 4.0
"""What a correlation of one adds to an attention score at the start."""
START_DOUBT = 2.0
"""c of the trust in a message at the start."""


class DenseGATv2(nn.Module):
    """GATv2 with edge attributes, concatenated heads, no self loops, on [S, N, K] neighbours."""

    def __init__(self, inputs: int, outputs: int, heads: int, edges: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.source = nn.Linear(inputs, outputs)
        self.target = nn.Linear(inputs, outputs)
        self.edge = nn.Linear(edges, outputs, bias=False)
        self.attention = nn.Parameter(torch.empty(heads, outputs // heads))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.dropout = nn.Dropout(dropout)
        for weight in (self.source.weight, self.target.weight, self.edge.weight, self.attention):
            nn.init.xavier_uniform_(weight)

    def forward(
        self, x_SNH: Tensor, neighbours_SNK: Tensor, edge_SNKE: Tensor, mask_SNK: Tensor,
        prior_SNK: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """[S, N, inputs], int64 [S, N, K], [S, N, K, E], bool [S, N, K] → [S, N, outputs].

        `prior_SNK` is added to the scores of all heads. Where `mask_SNK` is False the neighbour
        (whatever its index) is left out; a node without any neighbour gets the bias, as in
        torch_geometric.
        """
        source_SNKAd = self._split(gather_neighbours(self.source(x_SNH), neighbours_SNK))
        target_SN1Ad = self._split(self.target(x_SNH)).unsqueeze(2)
        edge_SNKAd = self._split(self.edge(edge_SNKE))
        mixed = F.leaky_relu(source_SNKAd + target_SN1Ad + edge_SNKAd, NEGATIVE_SLOPE)
        score_SNKA = (mixed * self.attention).sum(dim=-1).float()
        if prior_SNK is not None:
            score_SNKA = score_SNKA + prior_SNK.float().unsqueeze(-1)
        weight_SNKA: Tensor = self.dropout(_masked_softmax(score_SNKA, mask_SNK.unsqueeze(-1)))
        mixed_SNAd = (weight_SNKA.unsqueeze(-1) * source_SNKAd).sum(dim=2)
        return mixed_SNAd.flatten(-2) + self.bias

    def _split(self, x: Tensor) -> Tensor:
        """[..., H] → [..., A, H/A]."""
        return torch.unflatten(x, -1, (self.heads, -1))


class NodeEncoder(nn.Module):
    """Features of the last few days → [N, S, H], for the graph alone."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, hidden)
        self.day_kernel = nn.Parameter(torch.randn(hidden, LAG_DAYS) * LAG_DAYS**-0.5)
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, x_NTF: Tensor, context: int) -> Tensor:
        """[N, T, F] → [N, S, H] for the days from `context` on; days before the slice's are 0."""
        lead = min(context, LAG_DAYS - 1)
        code_NTH = self.project(x_NTF[:, context - lead :]).float()
        padded_NHT = F.pad(code_NTH.mT, (LAG_DAYS - 1 - lead, 0))
        lagged_NHSl = padded_NHT.unfold(-1, LAG_DAYS, 1)
        mixed_NHS = (lagged_NHSl * self.day_kernel.unsqueeze(1)).sum(dim=-1)
        out: Tensor = self.mix(F.elu(mixed_NHS).mT)
        return out.float()


class GraphAttention(nn.Module):
    """Layers of GATv2 with residuals on (trunk state, own encoding); returns the messages.

    Scores begin with a learned weight of the edges' attributes, which prefers strong correlations:
    GATv2's own attention starts nearly even, and six neighbours of which four are real then give
    two thirds of what weighing by correlation does.

    A mean of d neighbours is the noisier the fewer they are, and softmax does not tell how many it
    is of. So messages are trusted by d / (d + c), as a mean of d reports is (Spearman 1910, Brown
    1910), with c learned: a slice of some stocks, a dead stock or a dropped edge leaves fewer
    neighbours in training than there are in a forecast of all.
    """

    def __init__(
        self, features: int, hidden: int, heads: tuple[int, ...], edges: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoder = NodeEncoder(features, hidden)
        self.join = nn.Linear(2 * hidden, hidden)
        self.layers = nn.ModuleList(DenseGATv2(hidden, hidden, a, edges, dropout) for a in heads)
        self.strength = nn.Parameter(torch.zeros(hidden))
        prior_E = torch.zeros(edges)
        prior_E[0] = CORRELATION_PRIOR
        self.edge_prior = nn.Parameter(prior_E)
        self.log_doubt = nn.Parameter(torch.tensor(math.log(START_DOUBT)))

    def forward(
        self, code_SNH: Tensor, state_SNH: Tensor, alive_SN: Tensor, neighbours_SNK: Tensor,
        edge_SNKE: Tensor,
    ) -> Tensor:  # fmt: skip
        """What to add to `state_SNH`: strength × Σ messages, float32 [S, N, H].

        code_SNH of the encoder; alive_SN bool; neighbours_SNK int64, -1 = none; edge_SNKE float.
        """
        present_SNK = neighbours_SNK >= 0
        neighbours_SNK = neighbours_SNK.clamp(min=0)
        alive_SNK = (
            gather_neighbours(alive_SN.unsqueeze(-1).float(), neighbours_SNK).squeeze(-1).bool()
        )
        mask_SNK = present_SNK & alive_SNK
        linked_SN1 = mask_SNK.any(dim=-1, keepdim=True)
        node_SNH = self.join(torch.cat([code_SNH, state_SNH], dim=-1))
        node_SNH = node_SNH.float()
        total_SNH = torch.zeros_like(node_SNH)
        prior_SNK = (edge_SNKE * self.edge_prior).sum(dim=-1)
        for layer in self.layers:
            around = (neighbours_SNK, edge_SNKE, mask_SNK)
            message_SNH = layer(node_SNH + total_SNH, *around, prior_SNK)
            total_SNH = total_SNH + F.elu(message_SNH.float()) * linked_SN1
        return self.strength * self._trust(mask_SNK) * total_SNH

    def _trust(self, mask_SNK: Tensor) -> Tensor:
        """[S, N, 1]: 1 with all K neighbours, 0 with none."""
        doubt = self.log_doubt.exp()
        found_SN1 = mask_SNK.sum(dim=-1, keepdim=True).float()
        return found_SN1 / (found_SN1 + doubt) * (1.0 + doubt / mask_SNK.shape[-1])


def _masked_softmax(score_SNKA: Tensor, mask_SNK1: Tensor) -> Tensor:
    """Softmax over K of what the mask lets through; all zero where it lets nothing through."""
    score_SNKA = score_SNKA.masked_fill(~mask_SNK1, torch.finfo(score_SNKA.dtype).min)
    return score_SNKA.softmax(dim=2) * mask_SNK1
