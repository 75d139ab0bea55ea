"""Watching the graph: how much attention each type of edge gets, against equal shares.

    with watching_graph(model.graph) as watch:
        model(batch)
    watch.sums(batch).attention_WAG[0]      # of the first layer, by head and edge type

Sums are float64 on the CPU, over the live tokens of the slice days. G counts edge types, W layers.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from atft_hpo.data.sampling.batch import Batch
from atft_hpo.model.graph import GraphAttention

RHO_EDGES = (0.2, 0.4, 0.6, 0.8)
"""Bounds between the classes of |ρ|."""
EDGE_TYPES = (
    ("sector", "same"),
    ("sector", "other"),
    ("sign", "ρ > 0"),
    ("sign", "ρ < 0"),
    *(
        ("strength", f"|ρ| {low:g}–{high:g}")
        for low, high in zip((0.0, *RHO_EDGES), (*RHO_EDGES, 1.0), strict=True)
    ),
)
"""(dimension, type): every edge has one type in each dimension."""


@dataclass(frozen=True)
class GraphSums:
    """Attention over neighbours by edge type; edges are directed, and counted on each day."""

    nodes: float
    """(stock, day) tokens with at least one live neighbour."""
    edges_G: Tensor
    uniform_G: Tensor
    """Σ 1 / (live neighbours of the edge's target): what equal attention would give."""
    attention_WAG: tuple[Tensor, ...]
    """Σ attention [A, G] of each layer (heads differ); over a dimension it sums to `nodes`."""
    message_square: float
    """Σ ‖message‖² over live tokens: what the graph adds to the state."""
    state_square: float
    """Σ ‖state‖² it is added to."""

    @property
    def size(self) -> float | None:
        """Root mean square of the messages relative to the state's; None without a live token."""
        return (self.message_square / self.state_square) ** 0.5 if self.state_square else None

    def __add__(self, other: "GraphSums") -> "GraphSums":
        """All sums add up."""
        layers = zip(self.attention_WAG, other.attention_WAG, strict=True)
        return GraphSums(
            self.nodes + other.nodes,
            self.edges_G + other.edges_G,
            self.uniform_G + other.uniform_G,
            tuple(mine + theirs for mine, theirs in layers),
            self.message_square + other.message_square,
            self.state_square + other.state_square,
        )


@contextmanager
def watching_graph(graph: GraphAttention) -> Iterator["GraphWatch"]:
    """Keeps what passes through `graph` while the context lasts: one batch's, then `sums`."""
    watch = GraphWatch(len(graph.layers))
    with ExitStack() as handles:
        for layer in graph.layers:
            dropout = layer.get_submodule("dropout")
            handles.callback(dropout.register_forward_hook(watch.weight).remove)
        handles.callback(graph.register_forward_hook(watch.message).remove)
        yield watch


class GraphWatch:
    """Keeps the layers' weights of one pass, and the sizes of message and state.

    The pass may come to the graph some days at a time, in order, through all layers each.
    """

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.weights: list[Tensor] = []
        self.messages: list[Tensor] = []
        self.states: list[Tensor] = []

    def weight(self, module: nn.Module, args: Any, weight_SNKA: Tensor) -> None:
        """A layer's attention passed its dropout."""
        self.weights.append(weight_SNKA.float())

    def message(self, module: nn.Module, args: tuple[Tensor, ...], message_SNH: Tensor) -> None:
        """The graph returned; the state is its second argument."""
        self.messages.append(message_SNH.float().square().sum(dim=-1))
        self.states.append(args[1].float().square().sum(dim=-1))

    def sums(self, batch: Batch) -> GraphSums:
        """By edge type."""
        alive_SN = batch.alive_NS.T
        near_SNK = batch.neighbours_SNK
        day_S11 = torch.arange(len(near_SNK), device=near_SNK.device)[:, None, None]
        mask_SNK = (near_SNK >= 0) & alive_SN[day_S11, near_SNK.clamp(min=0)]
        mask_SNK = mask_SNK & alive_SN.unsqueeze(-1)
        type_SNKG = _edge_types(batch.edge_SNKE) * mask_SNK.unsqueeze(-1).double()
        uniform_SNK = 1.0 / mask_SNK.sum(dim=-1, keepdim=True).clamp(min=1).double()
        weights = [torch.cat(self.weights[layer :: self.layers]) for layer in range(self.layers)]
        layers = [torch.einsum("snka,snkg->ag", w.double(), type_SNKG) for w in weights]
        return GraphSums(
            nodes=float(mask_SNK.any(dim=-1).sum()),
            edges_G=type_SNKG.sum(dim=(0, 1, 2)).cpu(),
            uniform_G=(type_SNKG * uniform_SNK.unsqueeze(-1)).sum(dim=(0, 1, 2)).cpu(),
            attention_WAG=tuple(layer.cpu() for layer in layers),
            message_square=float((torch.cat(self.messages) * alive_SN).sum()),
            state_square=float((torch.cat(self.states) * alive_SN).sum()),
        )


def _edge_types(edge_SNKE: Tensor) -> Tensor:
    """bool [S, N, K, G] from the edge attributes ρ and same sector, in the order of EDGE_TYPES."""
    rho_SNK, same_SNK = edge_SNKE[..., 0], edge_SNKE[..., 1] > 0.5
    bounds = torch.tensor(RHO_EDGES, device=rho_SNK.device)
    class_SNK = torch.bucketize(rho_SNK.abs().contiguous(), bounds, right=True)
    classes = [class_SNK == number for number in range(len(RHO_EDGES) + 1)]
    return torch.stack([same_SNK, ~same_SNK, rho_SNK >= 0, rho_SNK < 0, *classes], dim=-1)
