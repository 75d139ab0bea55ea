"""One gated residual network per feature, all features at once as grouped matrix products.

    networks = FeatureNetworks(features, hidden)
    value_FHB = networks(x_FB)                                      # the plain form
    out_BH = networks.weighted_sum(x_BF, weight_BF, added)          # Σ_f weight · value, fused

The fused form keeps only its inputs for the backward pass, recomputes the rest there, and works in
place, a few tokens at a time: a third of the time of the plain form under autograd
(`bench.training_speed.selection`). It takes added channels: further inputs of each network. B
counts tokens, c a network's inputs.

Source: Lim et al. 2021, equations 2–5. Nothing stands between W₁ and W₄ there (dropout acts on the
selection weights here), so their product is formed first. Tokens are the innermost axis, so that
every pass over [F, H, B] runs over contiguous memory.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

NORM_EPSILON = 1e-5
BLOCK_NUMBERS = 1 << 21
"""F · H · B handled at a time on a CPU: 8 MiB a tensor in float32, so that cache holds some."""
BLOCK_NUMBERS_ON_DEVICE = 1 << 26
"""The same elsewhere, where memory is what counts."""
ROW_NUMBERS = 64
"""A block's tokens are a multiple of it: rows that begin in the middle of a cache line halve the
rate of some matrix products."""

Run = Callable[..., tuple[Tensor, ...]]
Pull = Callable[..., tuple[Tensor | None, ...]]
Operands = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Entry [F, 2H, c], inner [F, 2H, H], its bias [F, 2H, 1], gain and bias of the norm [F, H, 1]."""


class WeightedSum(Protocol):
    """Arguments and result as `in_blocks`."""

    def __call__(
        self, weight_BF: Tensor, inputs: Sequence[Tensor], operands: Operands,
        only_gradient: bool = False, /,
    ) -> Tensor: ...  # fmt: skip


class FeatureNetworks(nn.Module):
    """LayerNorm(a·x + b + GLU(W₄(W₁ ELU(w·x + v) + b₁) + b₄)): 3H² + 9H parameters a feature."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.entry_weight = uniform(1.0, features, 2 * hidden, 1)
        self.entry_bias = uniform(1.0, features, 2 * hidden, 1)
        self.mix_weight = uniform(hidden**-0.5, features, hidden, hidden)
        self.mix_bias = uniform(hidden**-0.5, features, hidden, 1)
        self.gate_weight = uniform(hidden**-0.5, features, 2 * hidden, hidden)
        self.gate_bias = uniform(hidden**-0.5, features, 2 * hidden, 1)
        self.norm_gain = nn.Parameter(torch.ones(features, hidden, 1))
        self.norm_bias = nn.Parameter(torch.zeros(features, hidden, 1))
        self.run, self.pull = _run, _pull
        """What `in_blocks` computes, and its gradients; may be put in compiled form."""
        self.kernels: WeightedSum | None = None
        """In the place of `in_blocks`, where a GPU has a faster form."""

    def forward(self, x_FB: Tensor) -> Tensor:
        """[F, B] → [F, H, B]."""
        entry_FHB = torch.addcmul(self.entry_bias, self.entry_weight, x_FB.unsqueeze(1))
        first_FHB, skip_FHB = entry_FHB.chunk(2, dim=1)
        weight_FHH, bias_FH1 = self._inner()
        value_FHB, gate_FHB = torch.baddbmm(bias_FH1, weight_FHH, F.elu(first_FHB)).chunk(2, dim=1)
        joined_FHB = torch.addcmul(skip_FHB, value_FHB, gate_FHB.sigmoid())
        centred_FHB = joined_FHB - joined_FHB.mean(dim=1, keepdim=True)
        variance_F1B = centred_FHB.square().mean(dim=1, keepdim=True)
        normed_FHB = centred_FHB * (variance_F1B + NORM_EPSILON).rsqrt()
        return torch.addcmul(self.norm_bias, self.norm_gain, normed_FHB)

    def weighted_sum(
        self,
        x_BF: Tensor,
        weight_BF: Tensor,
        added: Sequence[tuple[Tensor, Tensor]],
        only_gradient: bool = False,
    ) -> Tensor:
        """Σ_f weight · network(x, channels): [B, H].

        `added`: pairs of weights [F, 2H, c] (for the first layer and the skip) and channels
        [B, F, c]. Differentiable once in everything. With `only_gradient` the result is left at 0
        and its gradient is that of the sum.
        """
        entry_FHc = torch.cat([self.entry_weight, self.entry_bias, *(w for w, _ in added)], dim=2)
        operands = (entry_FHc, *self._inner(), self.norm_gain, self.norm_bias)
        inputs = (x_BF.unsqueeze(2), torch.ones_like(x_BF).unsqueeze(2), *(c for _, c in added))
        form = self.kernels or self.reference
        return form(weight_BF, inputs, operands, only_gradient)

    @property
    def reference(self) -> WeightedSum:
        """The fused form in torch's operations, with `run` and `pull` as they are now."""
        return partial(in_blocks, run=self.run, pull=self.pull)

    def _inner(self) -> tuple[Tensor, Tensor]:
        """W₄W₁ [F, 2H, H] and W₄b₁ + b₄ [F, 2H, 1]."""
        bias_FH1 = torch.baddbmm(self.gate_bias, self.gate_weight, self.mix_bias)
        return self.gate_weight @ self.mix_weight, bias_FH1


def in_blocks(
    weight_BF: Tensor, inputs: Sequence[Tensor], operands: Operands, only_gradient: bool = False,
    run: Run | None = None, pull: Pull | None = None,
) -> Tensor:  # fmt: skip
    """Σ_f weight · network(inputs), [B, H]: the fused form, some tokens at a time.

    `inputs` are parts [B, F, c] of the networks' inputs, side by side. Differentiable once. With
    `only_gradient` the result is left at 0 and its gradient is that of the sum.
    """
    how = (run or _run, pull or _pull, only_gradient)
    tokens = _block_tokens(weight_BF, operands[1].shape[2])
    blocks = zip(*(torch.split(t, tokens) for t in (weight_BF, *inputs)), strict=True)
    sums = [
        _FusedSum.apply(*how, torch.cat(part, dim=2).permute(1, 2, 0), weight.T, *operands)  # type: ignore[no-untyped-call]
        for weight, *part in blocks
    ]
    return torch.cat(sums, dim=1).T


def uniform(bound: float, *shape: int) -> nn.Parameter:
    """A parameter drawn from ± bound."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def _block_tokens(weight_BF: Tensor, hidden: int) -> int:
    numbers = BLOCK_NUMBERS if weight_BF.device.type == "cpu" else BLOCK_NUMBERS_ON_DEVICE
    tokens = numbers // (weight_BF.shape[1] * hidden)
    return max(ROW_NUMBERS, tokens - tokens % ROW_NUMBERS)


class _FusedSum(torch.autograd.Function):
    """Arguments: `_run`, `_pull`, `only_gradient`, inputs [F, c, B], weight [F, B], entry
    [F, 2H, c], inner [F, 2H, H] and its bias [F, 2H, 1], gain and bias of the norm [F, H, 1].
    Result [H, B]."""

    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx, run, pull, only_gradient, inputs, weight, entry, inner, inner_bias, gain, bias
    ):
        ctx.pull = pull
        ctx.save_for_backward(inputs, weight, entry, inner, inner_bias, gain, bias)
        if only_gradient:
            return weight.new_zeros(inner.shape[2], weight.shape[1])
        *_, normed_FHB, _ = run(inputs, entry, inner, inner_bias)
        normed_FHB.mul_(weight.unsqueeze(1))
        out_H1B = gain.permute(1, 2, 0) @ normed_FHB.transpose(0, 1)
        return out_H1B.squeeze(1).addmm_(bias.squeeze(2).T, weight)

    @staticmethod
    def backward(ctx, grad_HB):  # type: ignore[no-untyped-def]
        needs_inputs = ctx.needs_input_grad[3]
        return None, None, None, *ctx.pull(needs_inputs, *ctx.saved_tensors, grad_HB.contiguous())


def _pull(
    needs_inputs: bool, inputs: Tensor, weight: Tensor, entry: Tensor, inner: Tensor,
    inner_bias: Tensor, gain: Tensor, bias: Tensor, grad_HB: Tensor,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients of `_FusedSum`'s tensors, in their order."""
    first, slope, value, gate, normed, scale_F1B = _run(inputs, entry, inner, inner_bias)
    hidden = len(grad_HB)
    gain_FH, bias_FH = gain.squeeze(2), bias.squeeze(2)
    along = normed * grad_HB
    grad_gain = along @ weight.unsqueeze(2)
    grad_bias = (weight @ grad_HB.T).unsqueeze(2)
    along_F1B = gain.mT @ along
    grad_weight = torch.addmm(along_F1B.squeeze(1), bias_FH, grad_HB)
    # through the norm: dy = w·scale·(gain·g − mean(gain·g) − ŷ·mean(gain·g·ŷ))
    grad_joined = normed.mul_(along_F1B.div_(-hidden)).addcmul_(gain, grad_HB)
    grad_joined.sub_((gain_FH @ grad_HB).div_(hidden).unsqueeze(1))
    grad_joined.mul_(scale_F1B.mul_(weight.unsqueeze(1)))
    # through value · σ(gate): the halves of `grad_inner` are filled in place
    grad_value = torch.mul(grad_joined, gate, out=along)
    value.mul_(grad_value)
    grad_inner = torch.cat([grad_value, value.addcmul_(value, gate, value=-1)], dim=1)
    grad_first = (inner.mT @ grad_inner).mul_(slope)
    grad_entry = torch.cat([grad_first @ inputs.mT, grad_joined @ inputs.mT], dim=1)
    grad_inputs = None
    if needs_inputs:
        upper, lower = entry.chunk(2, dim=1)
        grad_inputs = torch.baddbmm(upper.mT @ grad_first, lower.mT, grad_joined)
    inner_grads = (grad_inner @ first.mT, grad_inner.sum(2, keepdim=True))
    return grad_inputs, grad_weight, grad_entry, *inner_grads, grad_gain, grad_bias


def _run(
    inputs_FcB: Tensor, entry_FHc: Tensor, inner_FHH: Tensor, inner_bias_FH1: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """ELU(first layer), its slope, value, σ(gate), normed [F, H, B]; the norm's scale [F, 1, B]."""
    entry_FHB = entry_FHc @ inputs_FcB
    first_FHB, joined_FHB = entry_FHB.chunk(2, dim=1)
    slope_FHB = first_FHB.clamp(max=0.0).exp_()  # of ELU, which is max(x, 0) + slope − 1
    first_FHB.clamp_(min=0.0).add_(slope_FHB).sub_(1.0)
    value_FHB, gate_FHB = torch.baddbmm(inner_bias_FH1, inner_FHH, first_FHB).chunk(2, dim=1)
    joined_FHB.addcmul_(value_FHB, gate_FHB.sigmoid_())
    joined_FHB.sub_(joined_FHB.mean(dim=1, keepdim=True))
    scale_F1B = joined_FHB.square().mean(dim=1, keepdim=True).add_(NORM_EPSILON).rsqrt_()
    return first_FHB, slope_FHB, value_FHB, gate_FHB, joined_FHB.mul_(scale_F1B), scale_F1B
