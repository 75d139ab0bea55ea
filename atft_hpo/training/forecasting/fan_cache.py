"""FAN and SAN of the slices that every epoch forecasts anew, kept from one forecast to the next.

    kept = KeptDecompositions()
    batch = kept.added_to(batch, model)         # with `Batch.channels`, computed the first time

What they say of a slice depends on its features alone, not on a weight, and computing it is half of
a forecast on a CPU. Kept are as many bytes as the features themselves have in float32, about
(with FAN and SAN on 34 of 395 columns); beyond `most_bytes` the model computes the rest each time.
On other devices it always does: they are fast at it, and their memory holds more trials instead.
"""

import dataclasses

from torch import Tensor

from atft_hpo.data.sampling.batch import Batch
from atft_hpo.model.atft import ATFT

MOST_BYTES = 2 << 30
"""More than the seed's validation range takes (1,959 stocks, 568 days with context: 1.4 GiB)."""


class KeptDecompositions:
    """Of the slices of one run, whose panel and configuration do not change."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._room = self._most_bytes = most_bytes
        self._modules: frozenset[str] = frozenset()
        self._kept: dict[tuple[int, int, int], dict[str, Tensor]] = {}

    def added_to(self, batch: Batch, model: ATFT) -> Batch:
        """`batch`, a whole slice of all stocks, with its channels; as it is where none are kept."""
        modules = model.active & {"fan", "san"}
        if batch.x_NTF.device.type != "cpu" or not modules:
            return batch
        if modules != self._modules:
            self._kept.clear()
            self._modules, self._room = modules, self._most_bytes
        stocks, days, _ = batch.x_NTF.shape
        key = (batch.first_day, days, stocks)
        if key not in self._kept:
            size = _bytes_of(batch, model)
            if size > self._room:
                return batch
            self._room -= size
            self._kept[key] = {n: c.contiguous() for n, c in model.channels(batch).items()}
        return dataclasses.replace(batch, channels=self._kept[key])


def _bytes_of(batch: Batch, model: ATFT) -> int:
    """What the channels of `batch` take, from those of its first stock."""
    first = dataclasses.replace(batch, x_NTF=batch.x_NTF[:1])
    return len(batch.x_NTF) * sum(channel.nbytes for channel in model.channels(first).values())
