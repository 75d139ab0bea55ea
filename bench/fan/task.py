"""Splits, scaling and windows of the continuation task, as in Ye et al. 2024.

Rows are split in time order 7/2/1 into training, validation and test part. A window is L values in
and O ahead; in the validation and test part the O ahead lie inside the part and the L before may
reach back into the part before, as is usual in this literature, so every part of n rows gives
n − O + 1 windows (the training part n − L − O + 1), and none is dropped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from atft_hpo.errors import DataError
from bench.fan.series import Series

LENGTH = 96
"""L, values seen."""
K_BY_NAME = {
    "etth1": 4, "etth2": 3, "ettm1": 11, "ettm2": 5,
    "exchange": 2, "electricity": 3, "ecl": 3, "traffic": 30, "weather": 2,
}  # fmt: skip
"""FAN's K per data set (Ye et al. 2024); a key is looked for in the file's name."""
SLICE_BY_NAME = {
    "etth1": 24, "etth2": 24, "ettm1": 12, "ettm2": 12,
    "exchange": 6, "electricity": 24, "ecl": 24, "traffic": 24, "weather": 12,
}  # fmt: skip
"""SAN's slice length per data set, from its authors' scripts for DLinear (Liu et al. 2023)."""
DEFAULT_SLICE = 12
AMPLITUDE_SHARE = 0.1
"""A frequency counts for K when its mean amplitude exceeds this share of the largest one."""
K_STRIDE = 12
"""Windows looked at for K start this many rows apart."""

Scaling = Literal["train", "all"]


@dataclass(frozen=True)
class Split:
    """Where the parts end; the test part ends with the series."""

    train_end: int
    validation_end: int
    rows: int

    def starts(self, part: Literal["train", "validation", "test"], ahead: int) -> Tensor:
        """First row of each window of a part."""
        first, end = {
            "train": (0, self.train_end),
            "validation": (self.train_end - LENGTH, self.validation_end),
            "test": (self.validation_end - LENGTH, self.rows),
        }[part]
        return torch.arange(first, end - LENGTH - ahead + 1)


def split(rows: int, ahead: int) -> Split:
    """7/2/1 by row; the first two parts are rounded down, as in the authors' code.

    Raises DataError if a part has no window.
    """
    parts = Split(rows * 7 // 10, rows * 7 // 10 + rows * 2 // 10, rows)
    need = {"train": LENGTH + ahead, "validation": ahead, "test": ahead}
    have = {
        "train": parts.train_end,
        "validation": parts.validation_end - parts.train_end,
        "test": rows - parts.validation_end,
    }
    short = [
        f"{part} part {have[part]:,} of {need[part]:,}" for part in need if have[part] < need[part]
    ]
    if short:
        raise DataError(
            f"horizon {ahead}: the series is too short, {rows:,} rows; found of needed: "
            f"{', '.join(short)}. Give about {_rows_needed(ahead):,} rows or a shorter horizon"
        )
    return parts


def _rows_needed(ahead: int) -> int:
    return max(ahead * 10, -(-(LENGTH + ahead) * 10 // 7))


@dataclass(frozen=True)
class Windows:
    """All windows of one part, cut from the scaled series when they are asked for."""

    cut_WCT: Tensor
    """View [all rows' windows, channels, L + O] of the series; it copies nothing."""
    starts_W: Tensor

    def __len__(self) -> int:
        return len(self.starts_W)

    def batches(
        self, size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(x_BCL, y_BCO), in time order or shuffled by `generator`; the last may be smaller."""
        order = self.starts_W
        if generator is not None:
            order = order[torch.randperm(len(order), generator=generator)]
        for chosen in order.split(size):
            block_BCT = self.cut_WCT[chosen.to(self.cut_WCT.device)]
            yield block_BCT[..., :LENGTH], block_BCT[..., LENGTH:]


@dataclass(frozen=True)
class Task:
    """One series, scaled, at one horizon."""

    ahead: int
    channels: int
    train: Windows
    validation: Windows
    test: Windows


def make_task(series: Series, ahead: int, scaling: Scaling, device: torch.device) -> Task:
    """Scaled windows on `device`.

    Raises DataError if the series is too short for the horizon, or a column constant where the
    scaling is fitted.
    """
    parts = split(len(series.values_NC), ahead)
    scaled_NC = standardise(series, parts.train_end if scaling == "train" else parts.rows)
    scaled_CN = torch.as_tensor(scaled_NC.T.astype(np.float32).copy(), device=device)
    cut_WCT = scaled_CN.unfold(1, LENGTH + ahead, 1).movedim(0, 1)
    windows = {
        part: Windows(cut_WCT, parts.starts(part, ahead))
        for part in ("train", "validation", "test")
    }
    return Task(ahead, len(series.channels), **windows)


def standardise(series: Series, rows: int) -> np.ndarray:
    """Each column minus its mean, over its (population) standard deviation, of the first `rows`."""
    fitted_NC = series.values_NC[:rows]
    for name, column_N in zip(series.channels, fitted_NC.T, strict=True):
        if column_N.min() == column_N.max():
            raise DataError(
                f"column {name!r} is constant in the {rows:,} rows its scale is fitted on; "
                "leave it out, or use --scaling all"
            )
    return np.asarray((series.values_NC - fitted_NC.mean(axis=0)) / fitted_NC.std(axis=0))


def choose_k(series: Series) -> tuple[int, str]:
    """FAN's K and how it was found: by name, else from amplitudes of the training part."""
    if key := _known(series, K_BY_NAME):
        return K_BY_NAME[key], f"the paper's for {key}"
    return count_frequencies(series), (
        f"frequencies whose mean amplitude in the training part exceeds {AMPLITUDE_SHARE:.0%} "
        "of the largest one"
    )


def count_frequencies(series: Series) -> int:
    """Bins of the L-value spectrum that stand out, by mean amplitude over windows and channels.

    The zero frequency counts too, since FAN chooses among all bins.
    """
    train_end = len(series.values_NC) * 7 // 10
    scaled_NC = standardise(series, train_end)[:train_end]
    window_WCL = np.lib.stride_tricks.sliding_window_view(scaled_NC, LENGTH, axis=0)[::K_STRIDE]
    amplitude_B = sum(np.abs(np.fft.rfft(window_CL)).mean(axis=0) for window_CL in window_WCL)
    return int((amplitude_B > AMPLITUDE_SHARE * np.max(amplitude_B)).sum())


def choose_slice(series: Series) -> tuple[int, str]:
    """SAN's slice length and how it was found."""
    if key := _known(series, SLICE_BY_NAME):
        return SLICE_BY_NAME[key], f"its authors' for {key}"
    return DEFAULT_SLICE, "the default"


def _known(series: Series, by_name: dict[str, int]) -> str | None:
    """The data set the series is named after: the key as a word of its own, in any case."""
    name = series.name.lower()
    return next((k for k in by_name if re.search(f"(?<![a-z]){k}(?![a-z])", name)), None)
