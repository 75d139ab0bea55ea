"""What a forecast is worth: daily series, their summaries, paired differences.

    truth = Truth.of(panel, days, horizon_days=1)
    skill = measure(score_DN, truth)
    skill.rank_ic_D, skill.pure_D, skill.summary
    paired(skill, other, truth)

Measures are the product's own (`evaluation.metrics`), of equal-weight top and bottom deciles
held as overlapping tranches over the horizon, gross exposure 2 (turnover is in that unit; a Sharpe
ratio has none), cost 10 bps of Σ|Δw|.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.data.neutralization.styles import Exposures, exposures_of
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation.mean_error import mean_error
from atft_hpo.evaluation.metrics import evaluate_forecast
from atft_hpo.evaluation.paired import paired_difference
from atft_hpo.evaluation.series import (
    Floats,
    daily_correlation,
    masked_ranks,
)
from atft_hpo.evaluation.yardsticks import Yardsticks
from bench.real.samples import Scores

COST_BPS: Final = 10.0
GROSS_EXPOSURE: Final = 2.0
"""The product's portfolios have 1."""
REPORTED: Final[tuple[str, ...]] = (
    "ic", "ic_std", "icir", "ic_t", "rank_ic", "rank_ic_std", "rank_icir", "rank_ic_t",
    "pure_rank_ic", "pure_rank_ic_std", "pure_rank_icir", "pure_rank_ic_t", "pure_days",
    "style_r2", "score_autocorrelation", "sharpe_gross", "days", "days_skipped",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Truth:
    """What forecasts of one horizon are judged by, on D days."""

    horizon_days: int
    return_DN: NDArray[np.float32]
    """Raw, of the horizon."""
    yardsticks: Yardsticks
    """Of one day, and of the horizon where it is another."""
    exposures: Exposures
    style_ic_DK: Floats
    """RankIC of each style alone; 0 on days without one."""

    @classmethod
    def of(cls, panel: Panel, days: range, horizon_days: int) -> "Truth":
        """The panel's truth for `days`."""
        span = slice(days.start, days.stop)
        q = panel.manifest.horizons_days.index(horizon_days)
        alive_DN, return_DN = np.asarray(panel.alive[span]), panel.targets[span, :, q]
        exposures = exposures_of(panel, days)
        used_DN = alive_DN & np.isfinite(return_DN)
        rank_DN = masked_ranks(return_DN, used_DN)
        style_ic = [
            daily_correlation(style_DN.astype(np.float64), rank_DN, used_DN)
            for style_DN in np.moveaxis(exposures.styles_DNK, 2, 0)
        ]
        return cls(
            horizon_days=horizon_days,
            return_DN=return_DN,
            yardsticks=Yardsticks(
                panel.targets[span][..., sorted({0, q})],
                alive_DN,
                panel.dates[span],
                Trading.of(panel, days),
                exposures,
            ),
            exposures=exposures,
            style_ic_DK=np.nan_to_num(np.stack(style_ic, axis=1)),
        )


@dataclass(frozen=True, eq=False)
class Skill:
    """One model's forecasts of one horizon, judged. Daily values are NaN where not scored."""

    rank_ic_D: Floats
    pure_D: Floats
    """Pure RankIC."""
    summary: dict[str, float]


def measure(score_DN: Scores, truth: Truth) -> Skill:
    """All measures of `score_DN`; one that is undefined is absent from the summary."""
    config = _portfolio_config(truth.horizon_days)
    score_DNQ = np.stack([score_DN] * len(config.data.horizons_days), axis=-1)
    found = evaluate_forecast(score_DNQ, truth.yardsticks, config)
    summary = {name: found.metrics[name] for name in REPORTED if name in found.metrics}
    if "sharpe" in found.metrics:
        summary["sharpe_net"] = found.metrics["sharpe"]
        summary["turnover"] = found.metrics["turnover"] * GROSS_EXPOSURE
    daily = found.daily
    return Skill(daily.rank_ic.astype(np.float64), daily.pure_rank_ic.astype(np.float64), summary)


def paired(skill: Skill, other: Skill, truth: Truth) -> dict[str, dict[str, Any]]:
    """Daily differences of `skill` less `other`: pure, raw, and raw without its style bets."""
    horizon = truth.horizon_days
    difference_D = skill.rank_ic_D - other.rank_ic_D
    return {
        "pure_rank_ic": _difference(skill.pure_D, other.pure_D, horizon),
        "rank_ic": _difference(skill.rank_ic_D, other.rank_ic_D, horizon),
        "style_attribution": style_attribution(
            difference_D, truth.style_ic_DK, horizon, truth.exposures.names
        ),
    }


def style_attribution(
    difference_D: Floats, style_ic_DK: Floats, overlap_days: int, names: Sequence[str]
) -> dict[str, Any]:
    """Regression of a daily difference on the daily RankICs of styles: what is left is `alpha`.

    What the days add to `alpha` are a serially correlated series with `alpha` as its mean, whose
    error and t are those of `evaluation.mean_error`, with degrees of freedom corrected.
    `betas` by style: how much more of it the first model holds; `explained` = R².
    Empty with fewer days than regressors.
    """
    known_D = np.isfinite(difference_D)
    y_D = difference_D[known_D]
    x_DJ = np.column_stack([np.ones(len(y_D)), style_ic_DK[known_D]])
    days, regressors = x_DJ.shape
    if days <= regressors:
        return {}
    inverse_JJ = np.linalg.pinv(x_DJ.T @ x_DJ)
    beta_J = inverse_JJ @ x_DJ.T @ y_D
    residual_D = y_D - x_DJ @ beta_J
    added_D = days * residual_D * (x_DJ @ inverse_JJ[:, 0])
    added_D *= math.sqrt(days / (days - regressors))
    alpha = mean_error(beta_J[0] + added_D, overlap_days)
    found = {"alpha": float(beta_J[0]), "betas": dict(zip(names, beta_J[1:].tolist(), strict=True))}
    if alpha is not None and alpha.standard_error > 0:
        found |= {"standard_error": alpha.standard_error, "t": alpha.t}
    total = float(((y_D - y_D.mean()) ** 2).sum())
    if total > 0:
        found["explained"] = 1 - float(residual_D @ residual_D) / total
    return found


def _difference(a_D: Floats, b_D: Floats, overlap_days: int) -> dict[str, float]:
    """Empty with fewer than two common days."""
    found = paired_difference(a_D, b_D, overlap_days)
    names = ("mean", "standard_error", "t", "low", "high", "days")
    return {} if found is None else {name: float(getattr(found, name)) for name in names}


def _portfolio_config(horizon_days: int) -> Config:
    return build_config(
        {
            "data": {"horizons_days": sorted({1, horizon_days})},
            "objective": {"horizon_days": horizon_days},
            "portfolio": {"sizing": "decile", "cost_bps": COST_BPS},
        }
    )
