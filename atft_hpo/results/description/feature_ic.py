"""Daily rank correlations of every feature with the labels, and their t-statistics.

For `describe` only; the metrics of forecasts are in `evaluation.metrics`.
"""

import numpy as np
from numpy.typing import NDArray

from atft_hpo.data.statistics.ranks import Floats, average_ranks
from atft_hpo.data.store.panel import Panel

MIN_STOCKS = 20
"""Days with fewer live stocks that have a label are left out."""
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
            out_DFQ[d] = _standard_ranks(x_NF.T) @ _standard_ranks(label_NQ[complete].T).T
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


def _standard_ranks(values: Floats) -> Floats:
    """Average ranks along the last axis, centred, length 1; 0 for constant rows."""
    ranks = average_ranks(values)
    centred = ranks - ranks.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, 1.0))


def newey_west_t(series_DF: NDArray[np.float64], lag: int) -> NDArray[np.float64]:
    """t-statistics [F] of column means, Bartlett weights up to `lag` (Newey & West 1987).

    Days (rows) with NaN are left out; fewer than MIN_DAYS days, or no variation, give 0.
    """
    x = series_DF[~np.isnan(series_DF).any(axis=1)]
    days = len(x)
    if days < MIN_DAYS:
        return np.zeros(series_DF.shape[1])
    deviation = x - x.mean(axis=0)
    variance = (deviation**2).mean(axis=0)
    for k in range(1, min(lag, days - 1) + 1):
        weight = 1 - k / (lag + 1)
        variance += 2 * weight * (deviation[k:] * deviation[:-k]).sum(axis=0) / days
    error = np.sqrt(np.maximum(variance, 0) / days)
    return np.asarray(np.divide(x.mean(axis=0), error, out=np.zeros_like(error), where=error > 0))
