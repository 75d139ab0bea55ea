"""Watching the attention over lags: how much each lag is looked at, and what each path adds.

    with watching_attention(model.attention) as watch:
        model(batch)
    watch.sums().weight_AL          # Σ softmax weight over live tokens, by head and lag

Hooks see each block of query days as it passes and add up at once, so no matrix of all days is
kept. Sums are float64 on the CPU, over the live tokens of the slice days.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from atft_hpo.model.temporal import BandAttention


@dataclass(frozen=True)
class AttentionSums:
    """Attention over lags 0 … L − 1, and the squares of what each path adds.

    Squares are over the H channels before the output projection.
    """

    tokens: float
    channels: int
    """H."""
    kernel_AL: Tensor
    """κ itself, the same for all tokens."""
    weight_AL: Tensor
    """Σ softmax weight by head; over lags it sums to `tokens`."""
    softmax_square_L: Tensor
    """Σ ‖w̄[l] · value[t − l]‖², w̄ the mean over heads, which is what the model uses."""
    kernel_square_AL: Tensor
    """Σ ‖κ[a, l] · value[t − l]‖² over the channels of head a."""
    softmax_square: float
    """Σ ‖sum of the softmax path over lags‖²."""
    kernel_square: float
    """Σ ‖sum of the kernel path over lags‖²."""

    def __add__(self, other: "AttentionSums") -> "AttentionSums":
        """Of the same attention: all sums add up."""
        same = ("channels", "kernel_AL")
        added = {name: a + vars(other)[name] for name, a in vars(self).items() if name not in same}
        return AttentionSums(channels=self.channels, kernel_AL=self.kernel_AL, **added)


@contextmanager
def watching_attention(attention: BandAttention) -> Iterator["AttentionWatch"]:
    """Adds up every pass through `attention` while the context lasts."""
    watch = AttentionWatch(attention)
    with ExitStack() as handles:
        for handle in (
            attention.register_forward_pre_hook(watch.enter),
            attention.value.register_forward_hook(watch.values),
            attention.by_head.register_forward_hook(watch.block),
        ):
            handles.callback(handle.remove)
        yield watch


class AttentionWatch:
    """Adds up the attention's blocks of query days as they pass."""

    def __init__(self, attention: BandAttention) -> None:
        heads, lookback = attention.lag_kernel.shape
        self.attention = attention
        self.tokens = self.softmax_square = self.kernel_square = 0.0
        self.weight_AL = torch.zeros(heads, lookback, dtype=torch.float64)
        self.value_square_AL = torch.zeros_like(self.weight_AL)
        self.softmax_square_L = torch.zeros(lookback, dtype=torch.float64)

    def enter(self, module: nn.Module, args: tuple[Tensor, Tensor, int]) -> None:
        """The attention is called: remember who is alive, and where the queries begin."""
        _, self.alive_NT, self.next_day = args

    def values(self, module: nn.Module, args: Any, value_NTH: Tensor) -> None:
        """Its values were computed."""
        self.value_NTH = value_NTH.float() * self.alive_NT.unsqueeze(-1)

    def block(self, module: nn.Module, args: Any, weight_NAST: Tensor) -> None:
        """Weights of the next block; its keys end with its last query."""
        queries, keys = weight_NAST.shape[2:]
        first, stop = self.next_day, self.next_day + queries
        self.next_day = stop
        live_NS = self.alive_NT[:, first:stop].float()
        query_S1 = torch.arange(first, stop, device=live_NS.device).unsqueeze(1)
        lag_ST = query_S1 - torch.arange(stop - keys, stop, device=live_NS.device)
        past = (self.value_NTH[:, stop - keys : stop], live_NS, lag_ST)
        with torch.autocast(live_NS.device.type, enabled=False):
            weight_AST = torch.einsum("nast,ns->ast", weight_NAST.float(), live_NS)
            self.weight_AL += self._by_lag(weight_AST, lag_ST)
            mean_NST = weight_NAST.float().mean(dim=1)
            self._add_squares(mean_NST, *past)
            self._add_paths(mean_NST, *past)
        self.tokens += float(live_NS.sum())

    def sums(self) -> AttentionSums:
        """All blocks together."""
        kernel_AL = self.attention.lag_kernel.detach().double().cpu()
        kernel_square_AL = kernel_AL.square() * self.value_square_AL
        return AttentionSums(
            self.tokens, self.attention.value.out_features, kernel_AL,
            self.weight_AL, self.softmax_square_L, kernel_square_AL,
            self.softmax_square, self.kernel_square,
        )  # fmt: skip

    def _add_squares(
        self, mean_NST: Tensor, value_NTH: Tensor, live_NS: Tensor, lag_ST: Tensor
    ) -> None:
        heads = len(self.weight_AL)
        square_NTA = torch.unflatten(value_NTH.square(), -1, (heads, -1)).sum(dim=-1)
        value_AST = torch.einsum("nta,ns->ast", square_NTA, live_NS)
        self.value_square_AL += self._by_lag(value_AST, lag_ST)
        looked = (mean_NST.square(), square_NTA.sum(dim=-1), live_NS)
        softmax_ST = torch.einsum("nst,nt,ns->st", *looked)
        self.softmax_square_L += self._by_lag(softmax_ST.unsqueeze(0), lag_ST)[0]

    def _add_paths(
        self, mean_NST: Tensor, value_NTH: Tensor, live_NS: Tensor, lag_ST: Tensor
    ) -> None:
        heads, lookback = self.weight_AL.shape
        in_band_ST = (lag_ST >= 0) & (lag_ST < lookback)
        kernel_AST = self.attention.lag_kernel[:, lag_ST.clamp(0, lookback - 1)] * in_band_ST
        value_NTAd = torch.unflatten(value_NTH, -1, (heads, -1))
        lagged_NSAd = torch.einsum("ast,ntad->nsad", kernel_AST.float(), value_NTAd)
        softmax_NSH = mean_NST @ value_NTH
        self.softmax_square += float((softmax_NSH.square().sum(dim=-1) * live_NS).sum())
        self.kernel_square += float((lagged_NSAd.square().sum(dim=(-2, -1)) * live_NS).sum())

    def _by_lag(self, value_AST: Tensor, lag_ST: Tensor) -> Tensor:
        """Σ over equal lags: [A, S, T] → float64 [A, L] on the CPU."""
        lookback = self.weight_AL.shape[1]
        in_band_ST = (lag_ST >= 0) & (lag_ST < lookback)
        out_AL = value_AST.new_zeros(len(value_AST), lookback, dtype=torch.float64)
        out_AL.index_add_(1, lag_ST[in_band_ST], value_AST[:, in_band_ST].double())
        return out_AL.cpu()
