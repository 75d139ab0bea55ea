"""Ridge regression on features as normal scores of their day.

The penalty is the one of PENALTIES with the best mean daily IC on the end of the training range,
fitted without that end; then all of the training range is fitted. Each horizon by itself.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from real_stocks.samples import Rows, Scores, Task, daily_ic

PENALTIES: Final = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Shares of the number of rows."""
_Floats = NDArray[np.float64]


def ridge(task: Task) -> Scores:
    """Forecasts [D, N, Q] of the fold's days."""
    fit, stop = task.fold.inner()
    inner, outer = task.rows(fit, ranked=True), task.rows(stop, ranked=True)
    everything, ahead = task.rows(task.fold.train, ranked=True), task.rows(task.fold.days, True)
    columns = []
    for q in range(task.horizons):
        candidates = [(coefficients(inner, q, share), share) for share in PENALTIES]
        ics = [daily_ic(outer.x_RF @ w, outer.label_RQ[:, q], outer.day_R) for w, _ in candidates]
        chosen = candidates[int(np.argmax(ics))][1]
        columns.append(ahead.x_RF @ coefficients(everything, q, chosen))
    return task.table(task.fold.days, np.stack(columns, axis=1))


def coefficients(rows: Rows, q: int, share: float) -> _Floats:
    """[F] of ridge on the rows that have label `q`: (XᵀX + share · R · I)⁻¹ Xᵀy."""
    known_R = np.isfinite(rows.label_RQ[:, q])
    x_RF, label_R = rows.x_RF[known_R], rows.label_RQ[known_R, q]
    gram_FF = (x_RF.T @ x_RF).astype(np.float64)
    gram_FF[np.diag_indices_from(gram_FF)] += share * len(x_RF)
    return np.asarray(np.linalg.solve(gram_FF, (x_RF.T @ label_R).astype(np.float64)))
