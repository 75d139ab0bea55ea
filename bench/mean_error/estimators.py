"""t-statistics of a mean, of many series at once: ours, and those of the literature beside it.

ESTIMATORS["Newey-West"](values_RD, horizon)       # [R], comparable to a standard normal
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import ndtri, stdtr

from atft_hpo.evaluation.mean_error import t_of_means

Floats = NDArray[np.float64]
Estimator = Callable[[Floats, int], Floats]
_COSINES: Final = 8


def newey_west(values_RD: Floats, horizon: int) -> Floats:
    """Bartlett weights with the horizon as lag (Newey & West 1987, eq. 5)."""
    return _ratio(values_RD, _long_run(values_RD, 1.0 - np.arange(1, horizon + 1) / (horizon + 1)))


def hansen_hodrick(values_RD: Floats, horizon: int) -> Floats:
    """Equal weights up to the horizon less 1 (1980); Newey–West's where they give no variance."""
    plain_R = _long_run(values_RD, np.ones(horizon - 1))
    safe_R = _long_run(values_RD, 1.0 - np.arange(1, horizon + 1) / (horizon + 1))
    return _ratio(values_RD, np.where(plain_R > 0.0, plain_R, safe_R))


def equal_weighted_cosines(values_RD: Floats, horizon: int) -> Floats:
    """The mean square of 8 cosine transforms, Student's t (Lazarus et al. 2018)."""
    transforms_RD = dct(values_RD, type=2, norm="ortho", axis=1)
    scale_R = np.sqrt((transforms_RD[:, 1 : _COSINES + 1] ** 2).mean(axis=1))
    t_R = transforms_RD[:, 0] / scale_R
    return np.asarray(-np.sign(t_R) * ndtri(stdtr(_COSINES, -np.abs(t_R))))


ESTIMATORS: Final[dict[str, Estimator]] = {
    "ours": t_of_means,
    "Newey-West": newey_west,
    "Hansen-Hodrick": hansen_hodrick,
    "8 cosines": equal_weighted_cosines,
}


def _ratio(values_RD: Floats, long_run_R: Floats) -> Floats:
    return np.asarray(values_RD.mean(axis=1) / np.sqrt(long_run_R / values_RD.shape[1]))


def _long_run(values_RD: Floats, weights_L: Floats) -> Floats:
    """Variance plus weighted autocovariances, both sides."""
    centred_RD = values_RD - values_RD.mean(axis=1, keepdims=True)
    total_R = np.vecdot(centred_RD, centred_RD)
    for lag, weight in enumerate(weights_L, start=1):
        total_R = total_R + 2.0 * weight * np.vecdot(centred_RD[:, lag:], centred_RD[:, :-lag])
    return np.asarray(total_R / values_RD.shape[1])
