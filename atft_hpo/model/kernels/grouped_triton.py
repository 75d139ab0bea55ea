"""`grouped.in_blocks` as two Triton kernels, for CUDA.

    out_BH = fused_sum(weight_BF, inputs, operands)

The reference moves some 900 KB per token through memory (34 features, 12 inputs each, H = 64, with
gradients); here the networks' intermediates stay in registers, and a token's inputs, weights, sum
and their gradients are all that moves, 9 KB (both counted). `_sum_kernel` takes some tokens through
one feature's network after another. `_pull_kernel` takes one feature and a part of the tokens,
computes the network again, and adds up the gradients of its weights as it goes: nothing is added
atomically, so that it is the same every time. What the parts (`parts_of`) found is added at the
end.

Products are three TF32 products each, for float32's precision: the reference computes in float32
too, whatever autocast says. Sums, norms and activations are float32. Dropout is none of it: it acts
on the weights that come in.

What a feature computes: Lim et al. 2021, equations 2–5, as in `grouped`. A network wider than 64
does not fit: at 64 the gradient takes 180,224 bytes of an H100's 232,448 of shared memory, since
matrices lie there in two orders, each as two TF32 numbers. Only what needs Triton is here;
`decomposed` decides whether it is used. B counts tokens, c a network's inputs, K what its five
operands hold.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from atft_hpo.model.kernels.grouped import NORM_EPSILON, Operands

MOST_PARTS = 31
"""Of the tokens, of which a feature's gradients are summed side by side: with 34 features 1,054
programs, eight rounds of an H100's 132 processors, of which each holds one."""
SUM_TOKENS, PULL_TOKENS = 128, 32
"""Tokens a program holds at a time. More in the gradient, and registers would spill by the
kilobyte; at 16 none do, but more instructions are issued and barriers waited for per token."""
SUM_OPTIONS = {"num_warps": 8, "num_stages": 2}
PULL_OPTIONS = {"num_warps": 8, "num_stages": 1}
_LEAST = 16
"""Least side of a matrix product."""


def fused_sum(
    weight_BF: Tensor, inputs: Sequence[Tensor], operands: Operands, only_gradient: bool = False
) -> Tensor:
    """See `grouped.in_blocks`; float32 only."""
    inputs_BFc = torch.cat([*inputs], dim=2)
    out: Tensor = _FusedSum.apply(only_gradient, inputs_BFc, weight_BF, *operands)  # type: ignore[no-untyped-call]
    return out


class _FusedSum(torch.autograd.Function):
    """Arguments: `only_gradient`, inputs [B, F, c], weight [B, F], operands. Result [B, H]."""

    @staticmethod
    def forward(ctx, only_gradient, inputs_BFc, weight_BF, *operands):
        operands = tuple(operand.contiguous() for operand in operands)
        ctx.save_for_backward(inputs_BFc, weight_BF, *operands)
        tokens, hidden = len(inputs_BFc), operands[1].shape[2]
        if only_gradient:
            return weight_BF.new_zeros(tokens, hidden)
        out_BH = weight_BF.new_empty(tokens, hidden)
        if tokens:
            _sum_kernel[(triton.cdiv(tokens, SUM_TOKENS),)](
                inputs_BFc, weight_BF, *operands, out_BH, tokens, *weight_BF.stride(),
                **constants(inputs_BFc, hidden), TOKENS=SUM_TOKENS, **SUM_OPTIONS,
            )  # fmt: skip
        return out_BH

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_BH):
        inputs_BFc, weight_BF, *operands = ctx.saved_tensors
        needs_inputs = ctx.needs_input_grad[1]
        (tokens, features, channels), hidden = inputs_BFc.shape, operands[1].shape[2]
        parts, length = parts_of(tokens)
        weight_grad_BF = weight_BF.new_empty(tokens, features)
        inputs_grad_BFc = torch.empty_like(inputs_BFc) if needs_inputs else None
        sizes = _sizes(channels, hidden)
        part_PFK = weight_BF.new_empty(parts, features, sum(sizes))
        if tokens:
            _pull_kernel[(features, parts)](
                inputs_BFc, weight_BF, grad_BH.contiguous(), *operands,
                weight_grad_BF if inputs_grad_BFc is None else inputs_grad_BFc,
                weight_grad_BF, part_PFK, tokens, *weight_BF.stride(), length,
                **constants(inputs_BFc, hidden), NEEDS_INPUTS=needs_inputs, TOKENS=PULL_TOKENS,
                **PULL_OPTIONS,
            )  # fmt: skip
        grads = part_PFK.sum(0).split(sizes, dim=1)
        pulls = (grad.view_as(operand) for grad, operand in zip(grads, operands, strict=True))
        return None, inputs_grad_BFc, weight_grad_BF, *pulls


def constants(inputs_BFc: Tensor, hidden: int) -> dict[str, Any]:
    """What both kernels are compiled for: sizes, and sides of the products."""
    _, features, channels = inputs_BFc.shape
    columns, places = (max(_LEAST, triton.next_power_of_2(n)) for n in (hidden, channels))
    sizes = {"FEATURES": features, "INPUTS": channels, "HIDDEN": hidden, "EPSILON": NORM_EPSILON}
    return sizes | {"PLACES": places, "COLUMNS": columns}


def parts_of(tokens: int) -> tuple[int, int]:
    """How many parts of the tokens there are, and tokens of each, the last one's perhaps fewer."""
    blocks = triton.cdiv(tokens, PULL_TOKENS)
    of_part = max(1, triton.cdiv(blocks, MOST_PARTS))
    return triton.cdiv(blocks, of_part), of_part * PULL_TOKENS


def _sizes(channels: int, hidden: int) -> tuple[int, int, int, int, int]:
    """Numbers of each operand per feature, in their order."""
    return 2 * hidden * channels, 2 * hidden * hidden, 2 * hidden, hidden, hidden


@triton.jit
def _network(
    inputs, upper, lower, of_value, of_gate, value_bias, gate_bias,
    HIDDEN: tl.constexpr, COLUMNS: tl.constexpr, EPSILON: tl.constexpr,
):  # fmt: skip
    """ELU(first layer), value, σ(gate), normed [TOKENS, COLUMNS]; the norm's scale [TOKENS]."""
    first = tl.dot(inputs, upper, input_precision="tf32x3")
    first = tl.where(first > 0.0, first, tl.exp(first) - 1.0)
    value = tl.dot(first, of_value, input_precision="tf32x3") + value_bias[None, :]
    gate = tl.sigmoid(tl.dot(first, of_gate, input_precision="tf32x3") + gate_bias[None, :])
    joined = tl.dot(inputs, lower, value * gate, input_precision="tf32x3")
    centred = joined - (tl.sum(joined, axis=1) / HIDDEN)[:, None]
    centred = tl.where((tl.arange(0, COLUMNS) < HIDDEN)[None, :], centred, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=1) / HIDDEN + EPSILON)
    return first, value, gate, centred * scale[:, None], scale


@triton.jit
def _matrix(
    ptr, WIDTH: tl.constexpr, HEIGHT: tl.constexpr, ROWS: tl.constexpr, PLACES: tl.constexpr
):
    """[ROWS, PLACES], of which HEIGHT rows of WIDTH numbers are there."""
    row, place = tl.arange(0, ROWS), tl.arange(0, PLACES)
    there = (row < HEIGHT)[:, None] & (place < WIDTH)[None, :]
    return tl.load(ptr + row[:, None] * WIDTH + place[None, :], mask=there, other=0.0)


@triton.jit(do_not_specialize=["tokens"])
def _sum_kernel(
    inputs_ptr, weight_ptr, entry_ptr, inner_ptr, inner_bias_ptr, gain_ptr, bias_ptr, out_ptr,
    tokens, weight_row, weight_column,
    FEATURES: tl.constexpr, INPUTS: tl.constexpr, HIDDEN: tl.constexpr, EPSILON: tl.constexpr,
    TOKENS: tl.constexpr, PLACES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Σ_f weight · network(inputs), [TOKENS, COLUMNS] a program."""
    token = (tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)).to(tl.int64)
    place, column = tl.arange(0, PLACES), tl.arange(0, COLUMNS)
    live, real = token < tokens, column < HIDDEN
    known = live[:, None] & (place < INPUTS)[None, :]
    total = tl.zeros([TOKENS, COLUMNS], tl.float32)
    for f in range(FEATURES):
        inputs_at = (token * FEATURES + f)[:, None] * INPUTS + place[None, :]
        inputs = tl.load(inputs_ptr + inputs_at, mask=known, other=0.0)
        weight_at = token * weight_row + f * weight_column
        weight = tl.load(weight_ptr + weight_at, mask=live, other=0.0)
        entry, inner = entry_ptr + f * 2 * HIDDEN * INPUTS, inner_ptr + f * 2 * HIDDEN * HIDDEN
        upper = _matrix(entry, INPUTS, HIDDEN, COLUMNS, PLACES)
        lower = _matrix(entry + HIDDEN * INPUTS, INPUTS, HIDDEN, COLUMNS, PLACES)
        of_value = _matrix(inner, HIDDEN, HIDDEN, COLUMNS, COLUMNS)
        of_gate = _matrix(inner + HIDDEN * HIDDEN, HIDDEN, HIDDEN, COLUMNS, COLUMNS)
        inner_bias = inner_bias_ptr + f * 2 * HIDDEN + column
        value_bias = tl.load(inner_bias, mask=real, other=0.0)
        gate_bias = tl.load(inner_bias + HIDDEN, mask=real, other=0.0)
        _, _, _, normed, _ = _network(
            inputs, tl.trans(upper), tl.trans(lower), tl.trans(of_value), tl.trans(of_gate),
            value_bias, gate_bias, HIDDEN, COLUMNS, EPSILON,
        )  # fmt: skip
        gain = tl.load(gain_ptr + f * HIDDEN + column, mask=real, other=0.0)
        bias = tl.load(bias_ptr + f * HIDDEN + column, mask=real, other=0.0)
        total += weight[:, None] * (normed * gain[None, :] + bias[None, :])
    there = live[:, None] & real[None, :]
    tl.store(out_ptr + token[:, None] * HIDDEN + column[None, :], total, mask=there)


@triton.jit(do_not_specialize=["tokens"])
def _pull_kernel(
    inputs_ptr, weight_ptr, grad_ptr, entry_ptr, inner_ptr, inner_bias_ptr, gain_ptr, bias_ptr,
    inputs_grad_ptr, weight_grad_ptr, part_ptr, tokens, weight_row, weight_column, length,
    FEATURES: tl.constexpr, INPUTS: tl.constexpr, HIDDEN: tl.constexpr, EPSILON: tl.constexpr,
    NEEDS_INPUTS: tl.constexpr, TOKENS: tl.constexpr, PLACES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One feature's gradients over `length` of the tokens; see `grouped._pull`.

    Names that begin with "to_" are gradients, those that end with "_sum" such of parameters.
    """
    f, part = tl.program_id(0), tl.program_id(1)
    place, column = tl.arange(0, PLACES), tl.arange(0, COLUMNS)
    real = column < HIDDEN
    entry_ptr += f * 2 * HIDDEN * INPUTS
    inner_ptr += f * 2 * HIDDEN * HIDDEN
    # Read before the loop: they stay in shared memory.
    upper = _matrix(entry_ptr, INPUTS, HIDDEN, COLUMNS, PLACES)
    lower = _matrix(entry_ptr + HIDDEN * INPUTS, INPUTS, HIDDEN, COLUMNS, PLACES)
    of_value = _matrix(inner_ptr, HIDDEN, HIDDEN, COLUMNS, COLUMNS)
    of_gate = _matrix(inner_ptr + HIDDEN * HIDDEN, HIDDEN, HIDDEN, COLUMNS, COLUMNS)
    inner_bias_ptr += f * 2 * HIDDEN + column
    value_bias = tl.load(inner_bias_ptr, mask=real, other=0.0)
    gate_bias = tl.load(inner_bias_ptr + HIDDEN, mask=real, other=0.0)
    gain = tl.load(gain_ptr + f * HIDDEN + column, mask=real, other=0.0)
    bias = tl.load(bias_ptr + f * HIDDEN + column, mask=real, other=0.0)
    upper_sum = tl.zeros([PLACES, COLUMNS], tl.float32)
    lower_sum = tl.zeros([PLACES, COLUMNS], tl.float32)
    of_value_sum = tl.zeros([COLUMNS, COLUMNS], tl.float32)
    of_gate_sum = tl.zeros([COLUMNS, COLUMNS], tl.float32)
    value_bias_sum = tl.zeros([COLUMNS], tl.float32)
    gate_bias_sum = tl.zeros([COLUMNS], tl.float32)
    gain_sum = tl.zeros([COLUMNS], tl.float32)
    bias_sum = tl.zeros([COLUMNS], tl.float32)
    for begin in range(0, length, TOKENS):
        token = (part * length + begin + tl.arange(0, TOKENS)).to(tl.int64)
        live = token < tokens
        row = (token * FEATURES + f)[:, None] * INPUTS
        known = live[:, None] & (place < INPUTS)[None, :]
        inputs = tl.load(inputs_ptr + row + place[None, :], mask=known, other=0.0)
        weight_at = token * weight_row + f * weight_column
        weight = tl.load(weight_ptr + weight_at, mask=live, other=0.0)
        grad_at = token[:, None] * HIDDEN + column[None, :]
        grad = tl.load(grad_ptr + grad_at, mask=live[:, None] & real[None, :], other=0.0)
        first, value, gate, normed, scale = _network(
            inputs, tl.trans(upper), tl.trans(lower), tl.trans(of_value), tl.trans(of_gate),
            value_bias, gate_bias, HIDDEN, COLUMNS, EPSILON,
        )  # fmt: skip
        weighed = weight[:, None] * grad
        bias_sum += tl.sum(weighed, axis=0)
        gain_sum += tl.sum(weighed * normed, axis=0)
        along = tl.sum(gain[None, :] * grad * normed, axis=1)
        to_weight = along + tl.sum(bias[None, :] * grad, axis=1)
        tl.store(weight_grad_ptr + token * FEATURES + f, to_weight, mask=live)
        # Through the norm, the gate, ELU and the first layer.
        grad *= gain[None, :]
        rest = grad - (tl.sum(grad, axis=1) / HIDDEN)[:, None] - normed * (along / HIDDEN)[:, None]
        to_joined = tl.where(real[None, :], (weight * scale)[:, None] * rest, 0.0)
        to_value = to_joined * gate
        to_gate = to_value * value * (1.0 - gate)
        value_bias_sum += tl.sum(to_value, axis=0)
        gate_bias_sum += tl.sum(to_gate, axis=0)
        of_value_sum = tl.dot(tl.trans(to_value), first, of_value_sum, input_precision="tf32x3")
        of_gate_sum = tl.dot(tl.trans(to_gate), first, of_gate_sum, input_precision="tf32x3")
        to_first = tl.dot(to_value, of_value, input_precision="tf32x3")
        to_first = tl.dot(to_gate, of_gate, to_first, input_precision="tf32x3")
        to_first = tl.where(first > 0.0, to_first, to_first * (first + 1.0))
        by_place = tl.trans(inputs)
        upper_sum = tl.dot(by_place, to_first, upper_sum, input_precision="tf32x3")
        lower_sum = tl.dot(by_place, to_joined, lower_sum, input_precision="tf32x3")
        if NEEDS_INPUTS:
            # As wide as the other products: a narrow one has every warp compute all of it.
            WIDE: tl.constexpr = max(PLACES, COLUMNS)
            wide = tl.arange(0, WIDE)
            upper_wide = _matrix(entry_ptr, INPUTS, HIDDEN, COLUMNS, WIDE)
            lower_wide = _matrix(entry_ptr + HIDDEN * INPUTS, INPUTS, HIDDEN, COLUMNS, WIDE)
            to_inputs = tl.dot(to_first, upper_wide, input_precision="tf32x3")
            to_inputs = tl.dot(to_joined, lower_wide, to_inputs, input_precision="tf32x3")
            known = live[:, None] & (wide < INPUTS)[None, :]
            tl.store(inputs_grad_ptr + row + wide[None, :], to_inputs, mask=known)
    part_ptr += (part * FEATURES + f) * 2 * HIDDEN * (INPUTS + HIDDEN + 2)
    at = column[None, :] * INPUTS + place[:, None]
    there = real[None, :] & (place < INPUTS)[:, None]
    tl.store(part_ptr + at, upper_sum, mask=there)
    tl.store(part_ptr + HIDDEN * INPUTS + at, lower_sum, mask=there)
    part_ptr += 2 * HIDDEN * INPUTS
    at = column[:, None] * HIDDEN + column[None, :]
    there = real[:, None] & real[None, :]
    tl.store(part_ptr + at, of_value_sum, mask=there)
    tl.store(part_ptr + HIDDEN * HIDDEN + at, of_gate_sum, mask=there)
    part_ptr += 2 * HIDDEN * HIDDEN + column
    tl.store(part_ptr, value_bias_sum, mask=real)
    tl.store(part_ptr + HIDDEN, gate_bias_sum, mask=real)
    tl.store(part_ptr + 2 * HIDDEN, gain_sum, mask=real)
    tl.store(part_ptr + 3 * HIDDEN, bias_sum, mask=real)
