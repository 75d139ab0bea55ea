"""FAN and SAN as causal decompositions: what the last L days say about today, per column.

A cross-sectional forecast is not in the units of its inputs, so nothing is denormalised: the
parts of the decomposition become added channels of their column.

    fan_NTFc = fan_channels(x_NTF, lookback=20, k=2, kind="dft")     # c: FAN_CHANNELS
    san_NTFc = san_channels(x_NTF, windows_days=(5, 20))             # c: SAN_CHANNELS per window

`fan_decompose`, `lsq_decompose` and `san_statistics` are the windowed forms of the papers; the
causal ones equal their last position (tested). Windows that begin before the first day given are
filled with zeros there, as missing days are. Always float32: FFT and variances need it.

Sources: Ye et al. 2024 (FAN, NeurIPS), equations 3–5; Liu et al. 2023 (SAN, NeurIPS), equation 2.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor

EPSILON = 1e-3
"""Added to scales and energies; inputs have a cross-sectional scale of about one."""
FAN_CHANNELS = ("residual", "main", "energy", "scale")
"""r/(std r + ε) and n at the last day, ρ = log((ε+‖n‖²)/(ε+‖r‖²)), s = log(ε + std r)."""
SAN_CHANNELS = ("standard", "log_std", "mean")
"""(x − μ)/(σ + ε), log(σ + ε) and μ of the most recent slices taken together."""
OVERSAMPLING = 4
"""Grid frequencies per DFT bin among which the least-squares fit looks for its start."""
SPANNED = 0.1
"""A direction whose part outside the span of the chosen ones is shorter (root mean square) is
dropped."""
TIE = 1e-6
"""Relative handicap per bin; above float32 rounding, below any difference that matters."""
WINDOWS_PER_BLOCK = 16384
"""Windows decomposed at a time on a CPU, so that intermediates stay in its cache."""
WINDOWS_PER_BLOCK_ON_DEVICE = 1 << 21
"""The same elsewhere, where memory is what counts."""


def fan_decompose(x_L: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Main component n and residual r = x − n of windows [..., L], as the paper has it.

    n keeps the k bins of largest amplitude of the one-sided spectrum; k = 0 gives n = 0 exactly.
    """
    spectrum_B = torch.fft.rfft(x_L.float())
    keep_B = _largest((spectrum_B.real**2 + spectrum_B.imag**2).detach(), k, dim=-1)
    main_L = torch.fft.irfft(spectrum_B * keep_B, n=x_L.shape[-1])
    return main_L, x_L - main_L


def lsq_decompose(x_L: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `fan_decompose`, with k sinusoids of arbitrary frequency fitted by least squares.

    Greedy: each step takes the frequency that explains most of what is left, and refits all chosen
    ones jointly (Gram–Schmidt). The frequency is the peak of a parabola through the best of a grid
    (`OVERSAMPLING` per DFT bin) and its two neighbours: on the grid alone, a cycle half a step away
    is out of phase at the window's ends, just where the last position is. DFT bins leak there
    unless the cycle divides L; this does not. On one core a window of 40 days takes 1.5 µs with
    k = 1, 2.8 µs with k = 2.
    """
    flat_LM = x_L.float().flatten(0, -2).T if x_L.dim() > 1 else x_L.float().unsqueeze(1)
    residual_L = _pursue(flat_LM, k).T.reshape(x_L.shape)
    return x_L - residual_L, residual_L


def san_statistics(x_L: Tensor, slice_days: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [..., L // slice_days] of the window's slices.

    Slices do not overlap; the last one ends with the window, days before the first are left out.
    """
    slices = x_L.shape[-1] // slice_days
    kept_L = x_L[..., x_L.shape[-1] - slices * slice_days :].float()
    x_lP = torch.unflatten(kept_L, -1, (slices, slice_days))
    return x_lP.mean(-1), x_lP.std(-1, correction=0)


def fan_channels(
    x_NTF: Tensor, lookback: int, k: int, kind: Literal["dft", "lsq"],
    dft: Callable[..., tuple[Tensor, ...]] | None = None,
) -> Tensor:  # fmt: skip
    """FAN of the trailing `lookback` days at every (stock, day): float32 [N, T, F, 4].

    `dft` replaces `dft_parts`, by a compiled form of it.
    """
    stocks, days, columns = x_NTF.shape
    basis = _basis(lookback, x_NTF.device) if kind == "dft" else ()
    decompose = (dft or dft_parts) if kind == "dft" else _lsq_last
    with torch.autocast(x_NTF.device.type, enabled=False):
        x_TM = x_NTF.float().transpose(0, 1).reshape(days, stocks * columns)
        windows_TLM = F.pad(x_TM, (0, 0, lookback - 1, 0)).unfold(0, lookback, 1).mT
        decomposed = [
            torch.cat([_fan_block(decompose(few_TLM, k, *basis)) for few_TLM in few_days], dim=1)
            for few_days in _blocks(windows_TLM)
        ]
        channels_TMc = torch.cat(decomposed)
    return channels_TMc.view(days, stocks, columns, -1).transpose(0, 1)


def _blocks(windows_TLM: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Some series of all days, or some days of all series, at a time."""
    series = windows_TLM.shape[2]
    most = WINDOWS_PER_BLOCK if windows_TLM.device.type == "cpu" else WINDOWS_PER_BLOCK_ON_DEVICE
    for few_days_TLM in torch.split(windows_TLM, max(1, most // max(1, series))):
        yield torch.split(few_days_TLM, max(1, most // len(few_days_TLM)), dim=2)


def _fan_block(parts: tuple[Tensor, ...]) -> Tensor:
    """[T, M, FAN_CHANNELS] from the last n and r, ‖n‖², ‖r‖², std r [T, M]."""
    main_TM, residual_TM, main_energy_TM, residual_energy_TM, std_TM = parts
    scale_TM = std_TM + EPSILON
    energy_TM = ((main_energy_TM + EPSILON) / (residual_energy_TM + EPSILON)).log()
    return torch.stack([residual_TM / scale_TM, main_TM, energy_TM, scale_TM.log()], dim=-1)


def san_channels(x_NTF: Tensor, windows_days: Sequence[int]) -> Tensor:
    """SAN of the most recent slices at every (stock, day): float32 [N, T, F, 3 · windows].

    Each window is one or several of the most recent slices taken together: a short one follows a
    level, a longer one knows a scale.
    """
    with torch.autocast(x_NTF.device.type, enabled=False):
        groups = [_san_window(x_NTF.float(), window) for window in windows_days]
        return torch.cat(groups, dim=-1)


def _san_window(x_NTF: Tensor, window: int) -> Tensor:
    days = x_NTF.shape[1]
    padded_NTF = F.pad(x_NTF, (0, 0, window - 1, 0))
    shifted = [padded_NTF[:, lag : lag + days] for lag in range(window)]
    mean_NTF = _mean(iter(shifted), window)
    variance_NTF = _mean(((x - mean_NTF).square() for x in shifted), window)
    scale_NTF = _root(variance_NTF) + EPSILON
    return torch.stack([(x_NTF - mean_NTF) / scale_NTF, scale_NTF.log(), mean_NTF], dim=-1)


def dft_parts(
    window_TLM: Tensor, k: int, waves_2BL: Tensor, weight_B1: Tensor
) -> tuple[Tensor, ...]:
    """Last n and r, ‖n‖², ‖r‖², std r [T, M] of windows [T, L, M], by Parseval without inverse."""
    length = window_TLM.shape[1]
    real_TBM, imaginary_TBM = (waves_2BL @ window_TLM).chunk(2, dim=1)
    cosine_B1, sine_B1 = waves_2BL[:, -1:].chunk(2)
    last_TBM = real_TBM * (weight_B1 * cosine_B1) + imaginary_TBM * (weight_B1 * sine_B1)
    power_TBM = real_TBM.square() + imaginary_TBM.square()
    keep_TBM = _largest(power_TBM.detach(), k, dim=1)
    energy_TBM = weight_B1 * power_TBM
    main_energy_TBM = keep_TBM * energy_TBM
    residual_energy_TBM = energy_TBM - main_energy_TBM
    main_TM = (keep_TBM * last_TBM).sum(1) / length
    main_energy_TM = main_energy_TBM.sum(1) / length
    residual_energy_TM = residual_energy_TBM.sum(1) / length
    std_TM = _root(residual_energy_TM / length - residual_energy_TBM[:, 0] / length**2)
    return main_TM, window_TLM[:, -1] - main_TM, main_energy_TM, residual_energy_TM, std_TM


def _lsq_last(window_TLM: Tensor, k: int) -> tuple[Tensor, ...]:
    """As `dft_parts`, by the least-squares fit."""
    days, length, series = window_TLM.shape
    window_LM = window_TLM.transpose(0, 1).reshape(length, days * series)
    residual_LM = _pursue(window_LM, k)
    main_LM = window_LM - residual_LM
    std_M = _root(residual_LM.var(0, correction=0))
    energies = (main_LM.square().sum(0), residual_LM.square().sum(0))
    parts = (main_LM[-1], residual_LM[-1], *energies, std_M)
    return tuple(part.view(days, series) for part in parts)


def _pursue(x_LM: Tensor, k: int) -> Tensor:
    """Residual [L, M] after k sinusoids, by orthogonal matching pursuit."""
    length = x_LM.shape[0]
    centred_L1 = torch.arange(length, device=x_LM.device).unsqueeze(1) - (length - 1) / 2
    residual_LM, chosen = x_LM, list[Tensor]()
    for _ in range(k):
        angle_LM = centred_L1 * _strongest_frequency(residual_LM.detach())
        for direction_LM in (angle_LM.cos(), angle_LM.sin()):
            for other_LM in chosen:
                direction_LM = direction_LM - other_LM * (other_LM * direction_LM).sum(0)
            norm_M = direction_LM.square().sum(0).sqrt()
            known = norm_M > SPANNED * length**0.5
            direction_LM = direction_LM * torch.where(known, 1.0 / norm_M, 0.0)
            residual_LM = residual_LM - direction_LM * (direction_LM * residual_LM).sum(0)
            chosen.append(direction_LM)
    return residual_LM


def _strongest_frequency(x_LM: Tensor) -> Tensor:
    """[M] radians per day: where a sinusoid explains most, between the grid's frequencies."""
    pairs_J2L = _sinusoids(x_LM.shape[0], x_LM.device)
    last = len(pairs_J2L) - 1
    power_JM = torch.unflatten((pairs_J2L.flatten(0, 1) @ x_LM).square(), 0, (-1, 2)).sum(1)
    best_M = power_JM.argmax(0)
    below_M, peak_M, above_M = (
        power_JM.gather(0, (best_M + step).clamp(0, last).unsqueeze(0)).squeeze(0)
        for step in (-1, 0, 1)
    )
    bend_M = below_M - 2 * peak_M + above_M
    inner_M = (best_M > 0) & (best_M < last) & (bend_M < 0)
    shift_M = torch.where(inner_M, 0.5 * (below_M - above_M) / bend_M, 0.0).clamp(-0.5, 0.5)
    return (best_M + shift_M) * (2 * math.pi / (OVERSAMPLING * x_LM.shape[0]))


def _largest(power: Tensor, k: int, dim: int) -> Tensor:
    """1.0 for the k largest along the frequencies of `dim`, 0.0 for the rest that is not zero.

    Ties go to the lower frequency. They are real: all bins of a window with one live day are equal,
    up to rounding. Signs stand in for masks, which take a CPU five to ten times as long to write
    and to apply.
    """
    shape = [-1 if axis == dim % power.dim() else 1 for axis in range(power.dim())]
    rank_B = torch.arange(power.shape[dim], device=power.device, dtype=power.dtype)
    left = power * (1.0 - TIE * rank_B).view(shape)
    for _ in range(k):
        left = left * (left.amax(dim, keepdim=True) - left).sign()
    return 1.0 - left.sign()


def _mean(terms: Iterator[Tensor], count: int) -> Tensor:
    total = next(terms)
    for term in terms:
        total = total + term
    return total / count


def _root(variance: Tensor) -> Tensor:
    """Square root whose gradient stays finite at zero."""
    return variance.clamp(min=1e-12).sqrt()


@cache
def _basis(length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Real DFT as a matrix, cos above −sin [2B, L], and each bin's weight [B, 1] in a series."""
    bin_B1 = torch.arange(length // 2 + 1, dtype=torch.float64).unsqueeze(1)
    angle_BL = 2 * math.pi / length * (bin_B1 * torch.arange(length) % length)
    weight_B1 = torch.where((bin_B1 == 0) | (2 * bin_B1 == length), 1.0, 2.0)
    waves_2BL = torch.cat([angle_BL.cos(), -angle_BL.sin()])
    return waves_2BL.to(device, torch.float32), weight_B1.to(device, torch.float32)


@cache
def _sinusoids(length: int, device: torch.device) -> Tensor:
    """[J, 2, L]: orthonormal pairs spanning cos and sin of each grid frequency up to Nyquist.

    Frequencies 0 and Nyquist have one direction; their second is zero.
    """
    frequency_J1 = torch.arange(OVERSAMPLING * length // 2 + 1, dtype=torch.float64).unsqueeze(1)
    angle_JL = 2 * math.pi / (OVERSAMPLING * length) * frequency_J1 * torch.arange(length)
    first_JL = F.normalize(angle_JL.cos(), dim=1)
    second_JL = angle_JL.sin()
    second_JL = second_JL - first_JL * (first_JL * second_JL).sum(1, keepdim=True)
    norm_J1 = second_JL.norm(dim=1, keepdim=True)
    second_JL = torch.where(norm_J1 > 1e-6, second_JL / norm_J1.clamp(min=1e-6), 0.0)
    return torch.stack([first_JL, second_JL], dim=1).to(device, torch.float32)
