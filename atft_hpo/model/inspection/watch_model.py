"""What the model looks at: selection weights, attention over lags, attention over neighbours.

    with torch.no_grad():
        seen = inspect_batch(model, first) + inspect_batch(model, second)
    seen.selection.mean_weight, seen.attention.weight_AL / seen.attention.tokens

One forward pass per batch, watched by hooks, which run the attention again without each path:
nothing of the model changes. What comes back are sums over the live tokens of the slice days,
float64 on the CPU, so that the batches of any number of days add up in bounded memory; who calls
sets `eval()` and the precision. J counts sectors.

None of these is an attribution: weights say where the model looks, not what it makes of it.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from atft_hpo.data.sampling.batch import Batch
from atft_hpo.model.atft import ATFT
from atft_hpo.model.inspection.watch_attention import AttentionSums, watching_attention
from atft_hpo.model.inspection.watch_graph import GraphSums, watching_graph


@dataclass(frozen=True)
class SelectionSums:
    """Softmax weights of variable selection; F in the panel's order."""

    tokens_S: Tensor
    """Live tokens of each day."""
    weight_SF: Tensor
    """Σ weight over the live tokens of each day."""
    square_F: Tensor
    """Σ weight² over all live tokens."""
    tokens_J: Tensor
    weight_JF: Tensor
    """Σ weight by sector."""

    def __add__(self, other: "SelectionSums") -> "SelectionSums":
        """Days are joined, the rest adds up."""
        return SelectionSums(
            torch.cat([self.tokens_S, other.tokens_S]),
            torch.cat([self.weight_SF, other.weight_SF]),
            self.square_F + other.square_F,
            self.tokens_J + other.tokens_J,
            self.weight_JF + other.weight_JF,
        )

    @property
    def mean_weight(self) -> Tensor:
        """[F] mean weight over live tokens, which sums to 1; NaN without a live token."""
        return self.weight_SF.sum(dim=0) / self.tokens_S.sum()


@dataclass(frozen=True)
class Inspection:
    """What the model looked at on some days."""

    selection: SelectionSums
    attention: AttentionSums | None
    """None in a model without attention."""
    graph: GraphSums | None
    """None when the graph is off."""

    def __add__(self, other: "Inspection") -> "Inspection":
        """Of the same model."""
        both = self.attention, other.attention
        attention = both[0] + both[1] if both[0] and both[1] else None
        graph = self.graph + other.graph if self.graph and other.graph else None
        return Inspection(self.selection + other.selection, attention, graph)


def inspect_batch(model: ATFT, batch: Batch) -> Inspection:
    """Sums over the live tokens of the S days of `batch`. Call under `torch.no_grad()`."""
    with ExitStack() as stack:
        looked = model.attention and stack.enter_context(watching_attention(model.attention))
        linked = stack.enter_context(watching_graph(model.graph))
        model(batch)
    return Inspection(
        selection=_selection_sums(model, batch),
        attention=looked.sums() if looked else None,
        graph=linked.sums(batch) if "graph" in model.active else None,
    )


def _selection_sums(model: ATFT, batch: Batch) -> SelectionSums:
    """`chunk_tokens` tokens at a time."""
    live_NS, sector_NS = batch.alive_NS, batch.slice_sectors
    stock_B, day_B = live_NS.nonzero(as_tuple=True)
    features, sectors = model.inputs.features, model.inputs.sectors
    zeros = batch.x_NTF.new_zeros
    weight_SF = zeros(live_NS.shape[1], features, dtype=torch.float64)
    weight_JF = zeros(sectors, features, dtype=torch.float64)
    square_F = zeros(features, dtype=torch.float64)
    step = model.chunk_tokens
    for stock_b, day_b in zip(torch.split(stock_B, step), torch.split(day_B, step), strict=True):
        x_bF = batch.x_NTF[stock_b, batch.context + day_b].float()
        weight_bF = model.selection.weights(x_bF).double()
        weight_SF.index_add_(0, day_b, weight_bF)
        weight_JF.index_add_(0, sector_NS[stock_b, day_b], weight_bF)
        square_F += weight_bF.square().sum(dim=0)
    tokens_J = torch.bincount(sector_NS[stock_B, day_B], minlength=sectors).double()
    parts = (live_NS.sum(dim=0).double(), weight_SF, square_F, tokens_J, weight_JF)
    return SelectionSums(*(part.cpu() for part in parts))
