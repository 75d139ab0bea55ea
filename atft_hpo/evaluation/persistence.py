"""How a daily series may depend on its own past, and how far its mean then scatters.

    plausible = plausible_persistence(days=448, overlap_days=20)
    plausible.tail(cosines_RQ, mean_R)        # P(a mean beyond this one | the truth is 0)

The mean of days that depend on each other says as much as fewer independent ones, and how many
cannot be estimated well from one or two years: an estimator that looks at the series alone has
errors too small by a third at overlaps of 20 days, by far more under persistence. What is known
beforehand helps: neighbouring values share all but one of the `overlap_days` of their labels.
So a range of processes is taken, from independent days to a half-life of 46; each says how much the
cosine transforms of the series vary, and how much its mean does. The transforms weigh the processes
by their likelihood, and the mean's tail probability is the average over processes (Müller & Watson
2016, "Measuring Uncertainty about Long-Run Predictions", Review of Economic Studies 83, eq. 9–12;
the cosine transforms: Müller 2004; Lazarus, Lewis, Stock & Watson 2018, "HAR Inference").

A process: labels that overlap, of forecasts that persist, with a share of independent noise, times
an autoregression that all or a share of each day's innovation follows. The weights were chosen by
simulation such that tails are as frequent as they say (`python -m bench.mean_error`).
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.special import stdtr

Floats = NDArray[np.float64]

MOST_COSINES: Final = 128
"""Transforms that are looked at, from the slowest on: of 448 days, periods of seven and more."""
AUTOREGRESSIONS: Final = (
    -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.55, 0.68, 0.76, 0.82, 0.87, 0.91, 0.94, 0.96, 0.975, 0.985,
)  # fmt: skip
"""ρ: what of a day's innovation the next day has."""
PERSISTENT_SHARES: Final = {1.0: 1.0, 0.4: 0.033, 0.15: 0.008}
"""Share of an innovation's variance that persists, and its prior weight."""
OVERLAPS: Final = {
    (1.0, 0.0): 1.0, (1.0, 0.1): 0.45, (1.0, 0.3): 0.3,
    (0.9, 0.0): 0.08, (0.6, 0.0): 0.25, (0.0, 0.0): 0.25,
}  # fmt: skip
"""Persistence of the forecast from day to day, share of independent noise; prior weight."""

NARROWER: Final = 0.975
"""Factor of the scales, chosen with the weights: a mixture is a little too wide for most."""


@dataclass(frozen=True, eq=False)
class Persistence:
    """The plausible processes P of a series of some length and overlap, as variances."""

    precision_QP: Floats
    """1 / variance of each cosine transform."""
    log_prior_P: Floats
    """Less the transforms' log standard deviations."""
    mean_P: Floats
    """Variance of √days · mean, in the units of the transforms' variances."""

    def weights_and_scales(self, cosines_RQ: Floats) -> tuple[Floats, Floats]:
        """[R, P] posterior weights of the processes, and the scale of √days · mean under each."""
        degrees = cosines_RQ.shape[1]
        square_RP = (cosines_RQ**2) @ self.precision_QP
        log_RP = self.log_prior_P - 0.5 * degrees * np.log(square_RP)
        weight_RP = np.exp(log_RP - log_RP.max(axis=1, keepdims=True))
        weight_RP /= weight_RP.sum(axis=1, keepdims=True)
        return weight_RP, NARROWER * np.sqrt(self.mean_P * square_RP / degrees)


def cosine_transforms(values_RD: Floats) -> tuple[Floats, Floats]:
    """√days · mean [R], and the slowest transforms [R, Q]: as large, had the mean no place.

    Orthonormal, type II: the transform q of white noise has its variance and says nothing of its
    mean. Q = min(D − 1, MOST_COSINES).
    """
    transforms_RD = dct(values_RD, type=2, norm="ortho", axis=1)
    return transforms_RD[:, 0], transforms_RD[:, 1 : MOST_COSINES + 1]


def tail(bound_RX: Floats, weight_RP: Floats, scale_RP: Floats, degrees: int) -> Floats:
    """[R, X] probability of noise above a `bound` >= 0: Student's t, mixed over the processes."""
    ratio_RXP = bound_RX[:, :, None] / scale_RP[:, None, :]
    return np.asarray((weight_RP[:, None, :] * stdtr(degrees, -ratio_RXP)).sum(axis=2))


@lru_cache(maxsize=64)
def plausible_persistence(days: int, overlap_days: int, *, lasting: bool = True) -> Persistence:
    """The processes of `days` values whose labels are `overlap_days` long (1: no overlap).

    With `lasting = False` those alone in which days share no more than their labels' days.
    """
    overlaps = OVERLAPS
    if overlap_days == 1:  # a label of one day overlaps with none: what persists has no say
        overlaps = {key: weight for key, weight in OVERLAPS.items() if key[0] == 1.0}
    covariances, priors = [], []
    for ((kept, noise), overlap_weight), ρ in product(
        overlaps.items(), AUTOREGRESSIONS if lasting else (0.0,)
    ):
        for share, share_weight in PERSISTENT_SHARES.items():
            if ρ <= 0.0 and share < 1.0:
                continue
            slope = 0.8 if share == 1.0 else -0.4
            priors.append(overlap_weight * share_weight * (1.0 - ρ) ** slope)
            covariances.append(_autocovariance(days, overlap_days, kept, noise, ρ, share))
    variance_PQ = np.array(covariances) @ _squared_transform(days).T
    deviations_P = 0.5 * np.log(variance_PQ[:, 1:]).sum(axis=1)
    return Persistence(
        precision_QP=np.ascontiguousarray(1.0 / variance_PQ[:, 1:].T),
        log_prior_P=np.log(priors) - deviations_P,
        mean_P=variance_PQ[:, 0],
    )


def _autocovariance(
    days: int, overlap_days: int, kept: float, noise: float, ρ: float, share: float
) -> Floats:
    """[days] lags: overlap times autoregression, in frequencies, then the noise."""
    points = 4 * max(2048, 1 << (days - 1).bit_length())
    cosine = np.cos(2.0 * np.pi * np.arange(points // 2 + 1) / points)
    lag = np.arange(overlap_days)
    kernel = np.zeros(points)
    kernel[:overlap_days] = (1.0 - lag / overlap_days) * kept**lag
    kernel[-lag[1:]] = kernel[lag[1:]]
    spectrum = np.maximum(np.fft.rfft(kernel).real, 0.0)
    persistent = (1.0 - ρ**2) / (1.0 + ρ**2 - 2.0 * ρ * cosine)
    found = np.fft.irfft(spectrum * (1.0 - share + share * persistent), points)[:days]
    found[0] /= 1.0 - noise
    return np.asarray(found)


def _squared_transform(days: int) -> Floats:
    """[1 + Q, days] weights of the autocovariances in each transform's variance."""
    order_Q1 = np.arange(min(days, MOST_COSINES + 1))[:, None]
    transform_QD = np.sqrt(2.0 / days) * np.cos(np.pi / days * order_Q1 * (np.arange(days) + 0.5))
    transform_QD[0] = 1.0 / np.sqrt(days)
    power = np.abs(np.fft.rfft(transform_QD, 2 * days, axis=1)) ** 2
    weights_QD = np.fft.irfft(power, 2 * days, axis=1)[:, :days]
    weights_QD[:, 1:] *= 2.0
    return np.asarray(weights_QD)
