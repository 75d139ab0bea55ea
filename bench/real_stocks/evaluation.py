"""What a forecast is worth: daily series, their summaries, paired differences.

    truth = Truth.of(panel, days, horizon_days=1)
    skill = measure(score_DN, truth)
    skill.rank_ic_D, skill.pure_D, skill.summary
    paired(skill, other, truth)

**Pure** RankIC: normal scores of the day's returns, residualised on sectors and style ranks,
against the forecast residualised in the same way (`atft_hpo.data.pure`). Portfolios are top and
bottom deciles in equal weights, held as overlapping tranches over the horizon, gross exposure 2
(turnover is in that unit; a Sharpe ratio has none), cost 10 bps of Σ|Δw|.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.data.panel import Panel
from atft_hpo.data.pure import pure_label, residualise
from atft_hpo.data.ranks import average_ranks
from atft_hpo.data.styles import style_names, style_ranks
from atft_hpo.training.metrics import daily_correlation, evaluate_forecast, newey_west_t
from atft_hpo.training.portfolio import MIN_STOCKS, constant_days
from real_stocks.interim import paired_difference
from real_stocks.samples import Scores

COST_BPS: Final = 10.0
GROSS_EXPOSURE: Final = 2.0
"""The product's portfolios have 1."""
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Truth:
    """What forecasts of one horizon are judged by, on D days."""

    horizon_days: int
    dates: NDArray[np.datetime64]
    alive_DN: Bools
    return_DN: NDArray[np.float32]
    """Raw, of the horizon."""
    one_day_DN: NDArray[np.float32]
    sector_N: NDArray[np.int64]
    style_names: tuple[str, ...]
    styles_DNK: NDArray[np.float32]
    pure_DN: Floats
    """Normal scores of the returns, without sectors and styles."""
    style_ic_DK: Floats
    """RankIC of each style alone."""

    @classmethod
    def of(cls, panel: Panel, days: range, horizon_days: int) -> "Truth":
        """The panel's truth for `days`."""
        span = slice(days.start, days.stop)
        q = panel.manifest.horizons_days.index(horizon_days)
        alive_DN, return_DN = np.asarray(panel.alive[span]), panel.targets[span, :, q]
        styles_DNK = style_ranks(panel, days)
        used_DN = alive_DN & np.isfinite(return_DN)
        rank_DN = _ranks(return_DN, used_DN)
        style_ic = [
            daily_correlation(styles_DNK[..., k].astype(np.float64), rank_DN, used_DN)
            for k in range(styles_DNK.shape[2])
        ]
        return cls(
            horizon_days, panel.dates[span], alive_DN, return_DN, panel.targets[span, :, 0],
            panel.sector, style_names(panel), styles_DNK,
            pure_label(return_DN, alive_DN, panel.sector, styles_DNK),
            np.nan_to_num(np.stack(style_ic, axis=1)),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Skill:
    """One model's forecasts of one horizon, judged. Daily values are NaN where not scored."""

    rank_ic_D: Floats
    pure_D: Floats
    summary: dict[str, float]


def measure(score_DN: Scores, truth: Truth) -> Skill:
    """All measures of `score_DN`; one that is undefined is absent from the summary."""
    config = _portfolio_config(truth.horizon_days)
    columns = [truth.one_day_DN, truth.return_DN][-len(config.data.horizons_days) :]
    found = evaluate_forecast(
        np.stack([score_DN] * len(columns), axis=-1),
        np.stack(columns, axis=-1),
        truth.alive_DN,
        truth.dates,
        config,
    )
    pure_D = pure_rank_ic(score_DN, truth)
    autocorrelation = float(np.nanmean(daily_persistence(score_DN)))
    names = ("ic", "ic_std", "icir", "ic_t", "rank_ic", "rank_ic_std", "rank_icir", "rank_ic_t",
             "days", "days_skipped", "sharpe_gross")  # fmt: skip
    summary = {name: found.metrics[name] for name in names if name in found.metrics}
    summary["sharpe_net"] = found.metrics.get("sharpe", math.nan)
    summary["turnover"] = found.metrics.get("turnover", math.nan) * GROSS_EXPOSURE
    summary["autocorrelation"] = autocorrelation
    summary |= mean_and_t("pure_rank_ic", pure_D, truth.horizon_days)
    known = {name: value for name, value in summary.items() if math.isfinite(value)}
    return Skill(found.daily.rank_ic.astype(np.float64), pure_D, known)


def pure_rank_ic(score_DN: Scores, truth: Truth) -> Floats:
    """[D] Spearman of the forecast's residual with the label's; NaN where too few stocks."""
    used_DN = np.isfinite(score_DN) & np.isfinite(truth.pure_DN)
    own_DN = residualise(score_DN, used_DN, truth.sector_N, truth.styles_DNK)
    used_DN &= np.isfinite(own_DN)
    scored_D = (used_DN.sum(axis=1) >= MIN_STOCKS) & ~constant_days(own_DN, used_DN)
    ic_D = daily_correlation(_ranks(own_DN, used_DN), _ranks(truth.pure_DN, used_DN), used_DN)
    return np.where(scored_D, ic_D, np.nan)


def daily_persistence(score_DN: Scores) -> Floats:
    """[D − 1] correlation of each day's forecasts with those of the day before."""
    mask_DN = np.isfinite(score_DN[1:]) & np.isfinite(score_DN[:-1])
    exact_DN = score_DN.astype(np.float64)
    return daily_correlation(exact_DN[1:], exact_DN[:-1], mask_DN)


def mean_and_t(name: str, value_D: Floats, lag: int) -> dict[str, float]:
    """Mean, std over days, ratio of the two, Newey–West t of the known values."""
    known = value_D[np.isfinite(value_D)]
    if len(known) < 2:
        return {}
    mean, std = float(known.mean()), float(known.std(ddof=1))
    ratio = mean / std if std > 0 else math.nan
    t = newey_west_t(known, lag)
    return {name: mean, f"{name}_std": std, f"{name}_ir": ratio, f"{name}_t": t}


def paired(skill: Skill, other: Skill, truth: Truth) -> dict[str, dict[str, float]]:
    """Daily differences of `skill` less `other`: pure, raw, and raw without its style bets."""
    lag = truth.horizon_days
    raw_D = skill.rank_ic_D - other.rank_ic_D
    return {
        "pure_rank_ic": _difference(skill.pure_D, other.pure_D, lag),
        "rank_ic": _difference(skill.rank_ic_D, other.rank_ic_D, lag),
        "attribution": attribute(raw_D, truth.style_ic_DK, lag, truth.style_names),
    }


def attribute(
    difference_D: Floats, style_ic_DK: Floats, lag: int, names: Sequence[str]
) -> dict[str, Any]:
    """Regression of a daily difference on the daily RankICs of styles: what is left is `alpha`.

    Standard error with Bartlett weights up to `lag` (Newey & West 1987), degrees of freedom
    corrected. `betas` by style: how much more of it the first model holds; `explained` = R².
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
    moment_DJ = x_DJ * residual_D[:, None]
    long_run_JJ = moment_DJ.T @ moment_DJ
    for step in range(1, min(lag, days - 1) + 1):
        product_JJ = moment_DJ[step:].T @ moment_DJ[:-step]
        long_run_JJ += (1 - step / (lag + 1)) * (product_JJ + product_JJ.T)
    variance = (inverse_JJ @ long_run_JJ @ inverse_JJ)[0, 0] * days / (days - regressors)
    error = math.sqrt(variance) if variance > 0 else math.nan
    total = float(((y_D - y_D.mean()) ** 2).sum())
    return {
        "alpha": float(beta_J[0]),
        "standard_error": error,
        "t": float(beta_J[0]) / error,
        "explained": 1 - float(residual_D @ residual_D) / total if total > 0 else math.nan,
        "betas": dict(zip(names, beta_J[1:].tolist(), strict=True)),
    }


def _difference(a_D: Floats, b_D: Floats, lag: int) -> dict[str, float]:
    both_D = np.isfinite(a_D) & np.isfinite(b_D)
    found = paired_difference(a_D[both_D], b_D[both_D], lag)
    names = ("mean", "standard_error", "t", "low", "high")
    return {name: float(getattr(found, name)) for name in names}


def _ranks(values_DN: NDArray[Any], mask_DN: Bools) -> Floats:
    return average_ranks(np.where(mask_DN, values_DN, np.nan)).astype(np.float64)


def _portfolio_config(horizon_days: int) -> Config:
    return build_config(
        {
            "data": {"horizons_days": sorted({1, horizon_days})},
            "objective": {"horizon_days": horizon_days},
            "portfolio": {"sizing": "decile", "cost_bps": COST_BPS},
        }
    )
