"""Daily rank correlations of every feature with the labels, as if each were a forecast."""

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.store.panel import Panel
from atft_hpo.evaluation.mean_error import t_of_means
from atft_hpo.evaluation.series import (
    MIN_STOCKS,
    Floats,
    Ranked,
    masked_ranks,
)

MIN_DAYS = 20
"""Fewer days with a correlation give no t-statistic."""


def daily_rank_ic(panel: Panel, days: NDArray[np.int64]) -> tuple[NDArray[np.float64], bool]:
    """[days, F, Q] Spearman correlations of features with raw returns, NaN on days left out.

    On a synthetic market [days, F, 1] with the one-day return its true forecast leaves over; the
    second value says so. A day needs MIN_STOCKS live stocks that have all labels.
    """
    horizons = 1 if panel.oracle is not None else len(panel.manifest.horizons_days)
    out_DFQ = np.full((len(days), len(panel.feature_names), horizons), np.nan)
    for d, day in enumerate(days):
        label_NQ = _day_labels(panel, int(day))
        complete = panel.alive[day] & ~np.isnan(label_NQ).any(axis=1)
        if complete.sum() >= MIN_STOCKS:
            x_NF = panel.features_tensor(slice(day, day + 1))[0].float().numpy()[complete]
            out_DFQ[d] = _correlations(x_NF.T, label_NQ[complete].T)
    return out_DFQ, panel.oracle is not None


def _day_labels(panel: Panel, day: int) -> Floats:
    """Raw returns [N, Q]; on a synthetic market [N, 1], the one-day return without its forecast."""
    if panel.oracle is None:
        return np.asarray(panel.targets[day])
    return_N = np.asarray(panel.targets[day, :, 0])
    parts_NO = np.column_stack([np.ones(len(return_N)), panel.oracle[day]])
    known = panel.alive[day] & ~np.isnan(return_N) & ~np.isnan(parts_NO).any(axis=1)
    residual_N = np.full_like(return_N, np.nan)
    beta, *_ = np.linalg.lstsq(parts_NO[known], return_N[known], rcond=None)
    residual_N[known] = return_N[known] - parts_NO[known] @ beta
    return residual_N[:, None]


def _correlations(x_FN: NDArray[np.floating], label_QN: NDArray[np.floating]) -> Floats:
    """[F, Q] Spearman correlations across stocks; 0 where a feature or a label is constant."""
    x_F, labels_Q = _ranked(x_FN), [_ranked(label_QN[q : q + 1]) for q in range(len(label_QN))]
    return np.nan_to_num(np.column_stack([x_F.correlation(label) for label in labels_Q]))


def _ranked(values_RN: NDArray[np.floating]) -> Ranked:
    everywhere_RN = np.ones(values_RN.shape, dtype=np.bool_)
    return Ranked.of(masked_ranks(values_RN, everywhere_RN), everywhere_RN.sum(axis=1))


def t_statistics(rank_ic_DF: Floats, overlap_days: int) -> Floats:
    """[F] t-statistics of the mean over days, whose labels are `overlap_days` long.

    Of the hypothesis that a feature knows nothing of any day, which is what a leak breaks.

    Days (rows) with NaN are left out; fewer than MIN_DAYS days, or no variation, give 0.
    """
    known_FD = np.ascontiguousarray(rank_ic_DF[~np.isnan(rank_ic_DF).any(axis=1)].T)
    if known_FD.shape[1] < MIN_DAYS:
        return np.zeros(len(known_FD))
    return np.nan_to_num(t_of_means(known_FD, overlap_days, lasting=False))
