"""A stock's return against a benchmark's: excess, and regression on it, over trailing windows."""

import numpy as np

from atft_hpo.data.features.families.trailing import Array, Trailing, ratio

_ROUNDING = 1e-13
"""An excess return this small is zero up to rounding (a stock that is its whole sector)."""
_PERFECT_FIT = 1e-9
"""A share of variance this small is unexplained by rounding only."""


class Excess:
    """A return in excess of a benchmark's, and the regression on it, over trailing windows."""

    def __init__(self, r: Trailing, benchmark: Trailing) -> None:
        self._r, self._benchmark = r, benchmark
        excess = r.x - benchmark.x
        self.e = Trailing(np.where(np.abs(excess) < _ROUNDING, 0.0, excess))
        """r − benchmark."""
        self.win = Trailing(0.5 + 0.5 * np.sign(self.e.x))
        """1 for e > 0, ½ for e = 0, else 0."""

    def beta(self, w: int) -> Array:
        """cov(r, b) / var(b)."""
        return ratio(self._r.covariance(self._benchmark, w), self._benchmark.variance(w))

    def correlation(self, w: int) -> Array:
        """Correlation of r and b."""
        return self._r.correlation(self._benchmark, w)

    def idiosyncratic(self, w: int) -> Array:
        """Standard deviation of r's part that b does not explain: std(r)·√(1 − ρ²)."""
        unexplained = 1 - self.correlation(w) ** 2
        unexplained[unexplained < _PERFECT_FIT] = 0.0
        return self._r.std(w) * np.sqrt(unexplained)

    def residual(self, w: int) -> Array:
        """Σ over w rows of r − β·b, β of the same rows."""
        return self._r.sum(w) - self.beta(w) * self._benchmark.sum(w)
