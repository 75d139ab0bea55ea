"""Ridge regression on features as normal scores of their day.

The penalty is the one of PENALTIES with the best mean daily IC on the end of the training range,
fitted without that end; then all of the training range is fitted. Each horizon by itself.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.real.samples import Rows, Scores, Task, daily_ic

PENALTIES: Final = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Shares of the number of rows."""
_Floats = NDArray[np.float64]


def ridge(task: Task) -> Scores:
    """Forecasts [D, N, Q] of the fold's days."""
    fit, stop = task.fold.inner()
    everything = task.rows(task.fold.train, ranked=True)
    ahead = task.rows(task.fold.days, ranked=True)
    inner, outer = everything.of(fit), everything.of(stop)
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
    label_R = np.where(known_R, rows.label_RQ[:, q], np.float32(0.0))
    unknown_UF = rows.x_RF[~known_R]  # few: taken out again rather than copying all others
    gram_FF = (rows.x_RF.T @ rows.x_RF - unknown_UF.T @ unknown_UF).astype(np.float64)
    gram_FF[np.diag_indices_from(gram_FF)] += share * int(known_R.sum())
    return np.asarray(np.linalg.solve(gram_FF, (rows.x_RF.T @ label_R).astype(np.float64)))
