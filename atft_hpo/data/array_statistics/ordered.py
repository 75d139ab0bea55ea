"""Rows of values in ascending order, and what can be read off it: extremes, medians, deviations.

    ordered = Ordered.of(x_RN.copy())
    ordered.medians, ordered.median_deviation(ordered.medians)      # [R] each

A row is one feature on one day, [R, N] float32 with NaN where a value is missing. Rows are sorted
once; everything else looks a few places up, by bisection, for all rows at the same time.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Ordered:
    """R rows in ascending order, NaN last."""

    ascending_RN: Floats

    @classmethod
    def of(cls, x_RN: Floats) -> "Ordered":
        """Sort the rows in place."""
        x_RN.sort(axis=-1)
        return cls(x_RN)

    @cached_property
    def counts(self) -> Places:
        """How many values of each row are present."""
        low_R = np.zeros(len(self.ascending_RN), np.int64)
        high_R = np.full_like(low_R, self._width)
        for _ in range(self._width.bit_length()):
            middle_R = (low_R + high_R) >> 1
            missing_R = np.isnan(self._at(middle_R)) | (middle_R >= high_R)
            high_R = np.where(missing_R, middle_R, high_R)
            low_R = np.where(missing_R, low_R, middle_R + 1)
        return low_R

    @property
    def lows(self) -> Floats:
        """Smallest value of each row; NaN for a row without any."""
        return self.ascending_RN[:, 0]

    @cached_property
    def highs(self) -> Floats:
        """Largest value of each row; NaN for a row without any."""
        return self._at(np.maximum(self.counts - 1, 0))

    @cached_property
    def medians(self) -> Floats:
        """NaN for a row without any value."""
        return self._between(*(self._at(place_R) for place_R in self._middle_places))

    def median_deviation(self, centre_R: Floats) -> Floats:
        """Median of |x − centre| of each row, without sorting again; NaN for a row without values.

        The k + 1 values nearest to the centre are neighbours; a bisection finds where they begin.
        """
        k_2R = np.stack(self._middle_places)
        low_2R = np.zeros_like(k_2R)
        high_2R = np.maximum(self.counts - 1 - k_2R, 0)
        for _ in range(self._width.bit_length()):
            begin_2R = (low_2R + high_2R) >> 1
            left_2R = centre_R - self._at(begin_2R)
            right_2R = self._at(begin_2R + k_2R + 1) - centre_R
            open_2R = low_2R < high_2R
            later_2R = (left_2R > right_2R) & open_2R
            low_2R = np.where(later_2R, begin_2R + 1, low_2R)
            high_2R = np.where(open_2R & ~later_2R, begin_2R, high_2R)
        left_2R = centre_R - self._at(low_2R)
        return self._between(*np.maximum(left_2R, self._at(low_2R + k_2R) - centre_R))

    @property
    def _width(self) -> int:
        return int(self.ascending_RN.shape[1])

    @cached_property
    def _middle_places(self) -> tuple[Places, Places]:
        """Places of the one or two values in the middle; 0 for a row without any."""
        last_R = np.maximum(self.counts - 1, 0)
        return last_R // 2, np.minimum(self.counts // 2, last_R)

    def _between(self, low_R: Floats, high_R: Floats) -> Floats:
        return np.where(self.counts % 2 == 1, low_R, low_R / 2 + high_R / 2)

    @cached_property
    def _begins(self) -> Places:
        return np.arange(len(self.ascending_RN)) * self._width

    def _at(self, place_R: Places) -> Floats:
        """The values at these places of the rows, [..., R]; at the last where one is too far."""
        return self.ascending_RN.ravel().take(np.minimum(place_R, self._width - 1) + self._begins)
