"""What the live rows say about each feature column: by this a column is refused or reported."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.array_statistics.ordered import Floats

_NEVER = np.iinfo(np.int32).max


@dataclass
class ColumnStatistics:
    """Of F columns, over the days seen so far."""

    present_F: NDArray[np.int64]
    infinite_F: NDArray[np.int64]
    infinite_since_F: NDArray[np.int32]
    """Earliest day with an infinite value."""
    low_F: Floats
    high_F: Floats
    varies_F: NDArray[np.bool_]
    """Two stocks differ on at least one day."""

    @classmethod
    def empty(cls, features: int) -> "ColumnStatistics":
        """Before any day."""
        return cls(
            present_F=np.zeros(features, np.int64),
            infinite_F=np.zeros(features, np.int64),
            infinite_since_F=np.full(features, _NEVER, np.int32),
            low_F=np.full(features, np.inf, np.float32),
            high_F=np.full(features, -np.inf, np.float32),
            varies_F=np.zeros(features, np.bool_),
        )

    def add_days(
        self, columns: NDArray[np.int64], low_R: Floats, high_R: Floats, count_R: NDArray[np.int64]
    ) -> None:
        """Count the finite values of these columns, whose rows are (column, day)."""
        low_FD, high_FD, count_FD = (
            found_R.reshape(len(columns), -1) for found_R in (low_R, high_R, count_R)
        )
        self.present_F[columns] += count_FD.sum(axis=1)
        self.low_F[columns] = np.fmin(self.low_F[columns], np.fmin.reduce(low_FD, axis=1))
        self.high_F[columns] = np.fmax(self.high_F[columns], np.fmax.reduce(high_FD, axis=1))
        self.varies_F[columns] |= (low_FD < high_FD).any(axis=1)

    def add_infinite(self, column: int, first_day: int, infinite_DN: NDArray[np.bool_]) -> None:
        """Count the infinite values of a column on the days from `first_day` on."""
        count_D = infinite_DN.sum(axis=-1)
        if not count_D.any():
            return
        self.infinite_F[column] += count_D.sum()
        since = first_day + int((count_D > 0).argmax())
        self.infinite_since_F[column] = min(self.infinite_since_F[column], since)

    def add(self, other: "ColumnStatistics") -> None:
        """Those of other days of the same columns."""
        self.present_F += other.present_F
        self.infinite_F += other.infinite_F
        self.infinite_since_F = np.minimum(self.infinite_since_F, other.infinite_since_F)
        self.low_F = np.fmin(self.low_F, other.low_F)
        self.high_F = np.fmax(self.high_F, other.high_F)
        self.varies_F |= other.varies_F

    def put(self, columns: slice, other: "ColumnStatistics") -> None:
        """Those of other columns, whose place is `columns`."""
        for field in fields(self):
            getattr(self, field.name)[columns] = getattr(other, field.name)
