"""Σ_f w_f · y_f(x_f) for many functions of one number each, at the price of two table rows a term.

A feature's network is a function of a single number, so it need not be run for every token: it is
evaluated once per step at `KNOTS` and interpolated linearly in between (and extrapolated from the
outermost cells). Gradients reach the networks through the knots.

    table_FMH = networks(KNOTS.expand(F, -1))                # M = CELLS + 1 knots
    out_BH = interpolated_sum(x_BF, weight_BF, table_FMH)

The interpolation is part of the model, the same in training and in use. Its distance from the
networks themselves is 1.2e-3 (rms, where they spread by .54; three times that with weights thrice
as large as at the start). Always float32 or float64. A term costs about .06 µs with its gradients
at H = 16 on one core, the network itself .6 µs (bench/selection.py). B counts tokens.
"""

import warnings

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor

LIMIT = 8.0
"""Knots cover ± this, the default of data.pack.clip."""
CELLS = 128
"""Intervals between knots; at most 256, since cells are sorted as bytes."""
KNOTS = torch.linspace(-LIMIT, LIMIT, CELLS + 1)
"""[M] where networks are evaluated."""
BLOCK_TOKENS = 4096
"""Tokens at a time on a CPU; bounds memory and keeps intermediates in cache."""
BLOCK_TOKENS_ON_DEVICE = 1 << 15
"""The same elsewhere, where a pass over few numbers is waiting."""


def interpolated_sum(x_BF: Tensor, weight_BF: Tensor, table_FMH: Tensor) -> Tensor:
    """[B, H] from inputs [B, F], their weights [B, F] and the functions' values at the knots.

    Differentiable once in all three. The result for a token depends on nothing but that token.
    """
    value_FCH = table_FMH[:, :-1].flatten(0, 1)
    slope_FCH = table_FMH.diff(dim=1).flatten(0, 1)
    with torch.autocast(x_BF.device.type, enabled=False):
        arguments = (x_BF, weight_BF, value_FCH, slope_FCH)
        out: Tensor = _InterpolatedSum.apply(*arguments)  # type: ignore[no-untyped-call]
    return out


class _InterpolatedSum(torch.autograd.Function):
    """Rows of `value` and `slope` are cells: feature after feature, CELLS each."""

    @staticmethod
    def forward(ctx, x_BF, weight_BF, value_CH, slope_CH):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x_BF, weight_BF, value_CH, slope_CH)
        tokens = _block_tokens(x_BF)
        blocks = zip(x_BF.split(tokens), weight_BF.split(tokens), strict=True)
        return torch.cat([_sum_cells(x, weight, value_CH, slope_CH) for x, weight in blocks])

    @staticmethod
    def backward(ctx, grad_BH):  # type: ignore[no-untyped-def]
        x_BF, weight_BF, value_CH, slope_CH = ctx.saved_tensors
        needs_x, needs_weight, needs_value, needs_slope = ctx.needs_input_grad
        x_grads, weight_grads = [], []
        value_grad_CH, slope_grad_CH = torch.zeros_like(value_CH), torch.zeros_like(slope_CH)
        parts = (t.split(_block_tokens(x_BF)) for t in (x_BF, weight_BF, grad_BH.contiguous()))
        for x, weight, grad in zip(*parts, strict=True):
            cell_BF, fraction_BF = _cells(x)
            if needs_x or needs_weight:
                along_value, along_slope = _products(cell_BF, grad, value_CH, slope_CH)
                weight_grads.append(along_value.addcmul_(fraction_BF, along_slope))
                x_grads.append(along_slope.mul_(weight).mul_(CELLS / (2 * LIMIT)))
            if needs_value or needs_slope:
                value_part_CH, slope_part_CH = _gather_cells(cell_BF, fraction_BF, weight, grad)
                value_grad_CH += value_part_CH
                slope_grad_CH += slope_part_CH
        return (
            torch.cat(x_grads) if needs_x else None,
            torch.cat(weight_grads) if needs_weight else None,
            value_grad_CH if needs_value else None,
            slope_grad_CH if needs_slope else None,
        )


def _block_tokens(x_BF: Tensor) -> int:
    return BLOCK_TOKENS if x_BF.device.type == "cpu" else BLOCK_TOKENS_ON_DEVICE


def _cells(x_BF: Tensor) -> tuple[Tensor, Tensor]:
    """Cell within the feature's own, int32, and the position in it (0 … 1 inside the knots).

    Clamping integers gives a NaN some cell, where it makes its own token NaN and no other.
    """
    position_BF = x_BF * (CELLS / (2 * LIMIT)) + CELLS / 2
    cell_BF = position_BF.floor().int().clamp_(0, CELLS - 1)
    return cell_BF, position_BF.sub_(cell_BF)


def _rows(cell_BF: Tensor) -> Tensor:
    """Cell numbers over all features, int32 [B, F]."""
    features = cell_BF.shape[1]
    start_F = torch.arange(0, features * CELLS, CELLS, dtype=torch.int32, device=cell_BF.device)
    return cell_BF + start_F


def _sum_cells(x_BF: Tensor, weight_BF: Tensor, value_CH: Tensor, slope_CH: Tensor) -> Tensor:
    cell_BF, fraction_BF = _cells(x_BF)
    row_BF = _rows(cell_BF)
    out_BH = F.embedding_bag(row_BF, value_CH, per_sample_weights=weight_BF, mode="sum")
    slope_weight_BF = fraction_BF.mul_(weight_BF)
    return out_BH + F.embedding_bag(
        row_BF, slope_CH, per_sample_weights=slope_weight_BF, mode="sum"
    )


def _products(
    cell_BF: Tensor, grad_BH: Tensor, value_CH: Tensor, slope_CH: Tensor
) -> tuple[Tensor, Tensor]:
    """⟨value[cell], grad⟩ and ⟨slope[cell], grad⟩, [B, F] each, as sampled matrix products."""
    tokens, features = cell_BF.shape
    device = cell_BF.device
    start_B = torch.arange(0, tokens * features + 1, features, dtype=torch.int32, device=device)
    zero = grad_BH.new_zeros(tokens * features)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        pattern = torch.sparse_csr_tensor(
            start_B, _rows(cell_BF).flatten(), zero, (tokens, len(value_CH)), check_invariants=False
        )
        sampled = (
            torch.sparse.sampled_addmm(pattern, grad_BH, table_CH.T, beta=0.0).values()
            for table_CH in (value_CH, slope_CH)
        )
        along_value, along_slope = (products.view(tokens, features) for products in sampled)
    return along_value, along_slope


def _gather_cells(
    cell_BF: Tensor, fraction_BF: Tensor, weight_BF: Tensor, grad_BH: Tensor
) -> tuple[Tensor, Tensor]:
    """Per cell, Σ w · grad and Σ w · fraction · grad over its tokens: [F · CELLS, H] each.

    Entries E = F · B are sorted by cell, feature by feature: each cell is one run of them.
    """
    cell_FB = cell_BF.T.contiguous()
    features, tokens = cell_FB.shape
    runs = _runs_by_bytes if cell_FB.device.type == "cpu" else _runs_by_search
    token_FB, start_FC = runs(cell_FB)
    first_F1 = torch.arange(features, device=cell_FB.device).unsqueeze(1) * tokens
    place_E = (token_FB + first_F1).flatten()
    weight_E = weight_BF.T.flatten().index_select(0, place_E)
    slope_weight_E = fraction_BF.T.flatten().index_select(0, place_E).mul_(weight_E)
    start_C, token_E = (start_FC + first_F1).flatten().int(), token_FB.flatten().int()
    value_CH, slope_CH = (
        F.embedding_bag(token_E, grad_BH, start_C, mode="sum", per_sample_weights=w)
        for w in (weight_E, slope_weight_E)
    )
    return value_CH, slope_CH


def _runs_by_bytes(cell_FB: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens by cell, stable, and where each cell's run of them begins [F, CELLS]; int64.

    Bytes sort by radix in NumPy, 15 times faster than in torch.
    """
    token_FB = cell_FB.to(torch.uint8).numpy().argsort(axis=1, kind="stable")
    count_FC = torch.zeros(len(cell_FB), CELLS, dtype=torch.int64)
    count_FC.scatter_add_(1, cell_FB.long(), torch.ones_like(cell_FB, dtype=torch.int64))
    return torch.from_numpy(token_FB), count_FC.cumsum(1) - count_FC


def _runs_by_search(cell_FB: Tensor) -> tuple[Tensor, Tensor]:
    """The same without atomic additions, which a GPU refuses where determinism is asked for."""
    sorted_FB, token_FB = cell_FB.sort(dim=1, stable=True)
    cell_C = torch.arange(CELLS, dtype=cell_FB.dtype, device=cell_FB.device)
    return token_FB, torch.searchsorted(sorted_FB, cell_C.repeat(len(cell_FB), 1))
