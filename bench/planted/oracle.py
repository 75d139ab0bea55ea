"""What share of a synthetic market's true forecast a model has learned, in total and by part.

    share = oracle_share(score_DN, panel.oracle, panel.alive)
    share.total, share.betas

Definitions. Let o = Σ_k o_k be the oracle, p the score, both demeaned over each day's live stocks,
and cov, var pooled over all cells. p is scaled by |cov(p, o)| / var(p); β_k is the coefficient of
o_k when the scaled p is regressed on the parts; w_k = cov(o_k, o) / var(o) is the part's share of
variance. Then Σ w_k β_k = ± corr(p, o)², and total = ± √|Σ w_k β_k| = corr(p, o): the share of the
oracle's IC that p attains. No label enters, hence no label noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.errors import DataError

_Floats = NDArray[np.floating]


@dataclass(frozen=True)
class OracleShare:
    """How much of the oracle a score holds."""

    total: float
    """corr(score, oracle) in [−1, 1]; 0 for a constant score."""
    weights: tuple[float, ...]
    """w_k: share of each part in the oracle's variance; they sum to 1."""
    betas: tuple[float, ...]
    """β_k: 1 = the part is there in full measure, 0 = not at all."""


def oracle_share(
    score_DN: _Floats, oracle_DNP: _Floats, alive_DN: NDArray[np.bool_]
) -> OracleShare:
    """Share of the oracle's parts in a score.

    Args:
        score_DN: any scale; NaN = no score.
        oracle_DNP: the parts of the true forecast (here P counts parts).
        alive_DN: cells that count.

    Raises:
        DataError: shapes differ, no day has two cells that count, or a part does not vary.
    """
    if score_DN.shape != alive_DN.shape or oracle_DNP.shape[:2] != score_DN.shape:
        raise DataError(
            f"score {score_DN.shape}, oracle {oracle_DNP.shape}, alive {alive_DN.shape}: "
            "expected [D, N], [D, N, parts], [D, N]"
        )
    used_DN = alive_DN & np.isfinite(score_DN) & np.isfinite(oracle_DNP).all(axis=2)
    used_DN &= used_DN.sum(axis=1, keepdims=True) >= 2
    if not used_DN.any():
        raise DataError("no day has two stocks with a score and an oracle; nothing to compare")
    p = _demeaned(score_DN[..., None], used_DN)[:, 0]
    parts = _demeaned(oracle_DNP, used_DN)
    return _share(p, parts)


def _share(p: NDArray[np.float64], parts: NDArray[np.float64]) -> OracleShare:
    """From the cells in use: p [cells], parts [cells, P], demeaned per day."""
    o = parts.sum(axis=1)
    gram = parts.T @ parts
    if np.linalg.matrix_rank(gram) < len(gram):
        raise DataError("the oracle's parts do not vary independently; no β can be told apart")
    weights = gram.sum(axis=1) / (o @ o)
    variance = float(p @ p)
    scale = abs(float(p @ o)) / variance if variance > 0 else 0.0
    betas = np.linalg.solve(gram, parts.T @ (scale * p))
    square = float(weights @ betas)
    return OracleShare(
        total=float(np.sign(square) * np.sqrt(abs(square))),
        weights=tuple(map(float, weights)),
        betas=tuple(map(float, betas)),
    )


def _demeaned(x_DNP: _Floats, used_DN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[cells, P] values in use less their day's mean."""
    used = used_DN[..., None]
    x = np.where(used, x_DNP, 0.0).astype(np.float64)
    mean = x.sum(axis=1, keepdims=True) / np.maximum(used.sum(axis=1, keepdims=True), 1)
    out: NDArray[np.float64] = (x - mean)[used_DN]
    return out
