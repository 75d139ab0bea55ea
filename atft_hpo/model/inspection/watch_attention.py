"""Watching the attention over lags: how much each lag is looked at, and what each path changes.

    with watching_attention(model.attention) as watch:
        model(batch)
    watch.sums().weight_AL          # Σ softmax weight over live tokens, by head and lag

Hooks see each block of query days as it passes and add up at once, so no matrix of all days is
kept. What a path changes is measured, not derived: the attention runs once more without the softmax
weights, and once more without κ. Sums are float64 on the CPU, over the live tokens of the slice
days.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from atft_hpo.model.temporal import BandAttention


@dataclass(frozen=True)
class AttentionSums:
    """Attention over lags 0 … L − 1, and the squares of what each path changes.

    Squares are over the H channels that the attention returns, after its gate and norm.
    """

    tokens: float
    kernel_HL: Tensor
    """κ itself, the same for all tokens."""
    weight_AL: Tensor
    """Σ softmax weight by head; over lags it sums to `tokens`."""
    softmax_square: float
    """Σ ‖output − output without the softmax path‖²."""
    kernel_square: float
    """Σ ‖output − output without κ‖²."""
    output_square: float
    """Σ ‖output‖²."""

    def __add__(self, other: "AttentionSums") -> "AttentionSums":
        """Of the same attention: all sums add up."""
        mine, theirs = dict(vars(self)), vars(other)
        kernel_HL = mine.pop("kernel_HL")
        return AttentionSums(kernel_HL=kernel_HL, **{k: v + theirs[k] for k, v in mine.items()})


@contextmanager
def watching_attention(attention: BandAttention) -> Iterator["AttentionWatch"]:
    """Adds up what passes through `attention` meanwhile, some stocks after others."""
    watch = AttentionWatch(attention)
    with ExitStack() as handles:
        for handle in (
            attention.register_forward_pre_hook(watch.begin),
            attention.by_head.register_forward_hook(watch.block),
            attention.register_forward_hook(watch.output, with_kwargs=True),
        ):
            handles.callback(handle.remove)
        yield watch


class AttentionWatch:
    """Adds up the attention's blocks of query days as they pass, then compares its outputs."""

    def __init__(self, attention: BandAttention) -> None:
        self.attention = attention
        self.present_NT = torch.zeros(0, 0, dtype=torch.bool)
        self.context = self.next_day = 0
        self.without: Literal["softmax", "kernel"] | None = None
        self.tokens = self.softmax_square = self.kernel_square = self.output_square = 0.0
        self.weight_AL = torch.zeros(attention.heads, attention.lookback, dtype=torch.float64)

    def begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """The next stocks come; their `present_NT` and `context` are the last two arguments."""
        *_, self.present_NT, self.context = args
        self.next_day = self.context

    def block(self, module: nn.Module, args: Any, weight_NAST: Tensor) -> Tensor | None:
        """Weights of the next block; its keys end with its last query."""
        if self.without == "softmax":
            return torch.zeros_like(weight_NAST)
        if self.without is None:
            queries, keys = weight_NAST.shape[2:]
            first, stop = self.next_day, self.next_day + queries
            self.next_day = stop
            live_NS = self.present_NT[:, first:stop].float()
            query_S1 = torch.arange(first, stop, device=live_NS.device).unsqueeze(1)
            lag_ST = query_S1 - torch.arange(stop - keys, stop, device=live_NS.device)
            with torch.autocast(live_NS.device.type, enabled=False):
                weight_AST = torch.einsum("nast,ns->ast", weight_NAST.float(), live_NS)
            self.weight_AL += self._by_lag(weight_AST, lag_ST)
            self.tokens += float(live_NS.sum())
        return None

    def output(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out_NSH: Tensor
    ) -> None:
        """The attention returned: it is run again with the same arguments, without each path."""
        if self.without is not None:
            return
        closed = {"lag_kernel": torch.zeros_like(self.attention.lag_kernel)}
        self.without = "softmax"
        softmax_off_NSH = functional_call(self.attention, {}, args, kwargs)
        self.without = "kernel"
        kernel_off_NSH = functional_call(self.attention, closed, args, kwargs)
        self.without = None
        self.output_square += self._square(out_NSH)
        self.softmax_square += self._square(out_NSH - softmax_off_NSH)
        self.kernel_square += self._square(out_NSH - kernel_off_NSH)

    def sums(self) -> AttentionSums:
        """All blocks together."""
        with torch.autocast(self.present_NT.device.type, enabled=False):  # κ unrounded
            kernel_HL = self.attention.kernel().detach().double().cpu()
        squares = (self.softmax_square, self.kernel_square, self.output_square)
        return AttentionSums(self.tokens, kernel_HL, self.weight_AL, *squares)

    def _square(self, value_NSH: Tensor) -> float:
        """Σ ‖·‖² over live tokens."""
        return float(value_NSH[self.present_NT[:, self.context :]].double().square().sum())

    def _by_lag(self, value_AST: Tensor, lag_ST: Tensor) -> Tensor:
        """Σ over equal lags: [A, S, T] → float64 [A, L] on the CPU."""
        lookback = self.weight_AL.shape[1]
        in_band_ST = (lag_ST >= 0) & (lag_ST < lookback)
        out_AL = value_AST.new_zeros(len(value_AST), lookback, dtype=torch.float64)
        out_AL.index_add_(1, lag_ST[in_band_ST], value_AST[:, in_band_ST].double())
        return out_AL.cpu()
