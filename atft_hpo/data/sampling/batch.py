"""The tensors of one slice: what a training step, an evaluation and a prediction all take.

Shape legend, the same everywhere: D days, N stocks, L lookback, F features, H hidden, A attention
heads, K neighbours, E edges, Q horizons, P quantile levels; here T = C + S: context and slice days.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One slice: S days with a loss, preceded by C days of context (C may be 0 at the start).

    Everything is on one device. Rows of dead (stock, day) cells are zero in `x_NTF`, False in
    `alive_NT` and NaN in the labels.
    """

    x_NTF: Tensor
    """The store's type (float16 or bfloat16) or float32: normalised features, missing cells 0."""
    alive_NT: Tensor
    """bool: the stock is in the universe that day."""
    sector_N: Tensor
    """int64: sector number; 0 is "unknown"."""
    label_NSQ: Tensor
    """float32: uniform rank of the return within the day over the whole universe, scaled to zero
    mean and unit variance; NaN where missing."""
    return_NSQ: Tensor
    """float32: raw h-day returns after the delay; NaN where missing."""
    neighbours_SNK: Tensor
    """int64: positions (within this slice's N) of neighbours; -1 = none."""
    edge_SNKE: Tensor
    """float32: edge attributes: shrunk ρ, same sector (0/1)."""
    context: int
    """C."""
    first_day: int
    """Index in the panel of the first of the S days."""
    stocks: Tensor
    """int64 [N]: indices of the stocks in the panel."""
    sectors: int
    """`sector_N` is below this."""
    base_NSQ: Tensor | None = None
    """float32: a forecast that the model corrects (`model.trees`), 0 where dead; None = none."""
    channels: Mapping[str, Tensor] | None = None
    """What the model's decompositions say of `x_NTF`, float32 [N, T, F_fan, c] each; None = not
    computed yet (the model does)."""
    channel_columns: Tensor | None = None
    """int64: the F_fan columns of `x_NTF` that `channels` are of."""

    def to(self, device: torch.device) -> "Batch":
        """The same slice on `device`."""
        moved: dict[str, Any] = {
            k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)
        }
        return dataclasses.replace(self, **moved)
