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

    Everything is on one device. Cells (stock, day) without a row are zero in `x_NTF` and False in
    `present_NT`. A stock that is not in the universe that day may have features, as its past; it
    has no label, no forecast and no edges.
    """

    x_NTF: Tensor
    """The store's type (float16 or bfloat16) or float32: normalised features, missing cells 0."""
    present_NT: Tensor
    """bool: the stock has features that day."""
    alive_NS: Tensor
    """bool: it is in the universe that day, and so is scored."""
    sector_NT: Tensor
    """int64: sector number of the day; 0 is "unknown". [N, 1] where no stock changes its own."""
    label_NSQ: Tensor
    """float32: uniform rank of the return within the day over the whole universe, scaled to zero
    mean and unit variance; NaN where missing."""
    return_NS: Tensor
    """float32: what a position decided that day earns in its first day (`Trading.position_DN`)."""
    executable_NS: Tensor
    """bool: a decision of that day can be carried out (`Trading.executable_DN`)."""
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
    """`sector_NT` is below this."""
    base_NSQ: Tensor | None = None
    """float32: a forecast that the model corrects (`model.trees`), 0 where dead; None = none."""
    channels: Mapping[str, Tensor] | None = None
    """What the model's decompositions say of `x_NTF`, float32 [N, T, F_fan, c] each; None = not
    computed yet (the model does)."""
    channel_columns: Tensor | None = None
    """int64: the F_fan columns of `x_NTF` that `channels` are of."""

    @property
    def slice_sectors(self) -> Tensor:
        """int64 [N, S]: sector number on each of the S days."""
        stocks, days = self.alive_NS.shape
        return self.sector_NT[:, -days:].expand(stocks, days)

    def to(self, device: torch.device) -> "Batch":
        """The same slice on `device`."""
        moved: dict[str, Any] = {
            k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)
        }
        return dataclasses.replace(self, **moved)
