"""Validation metrics of a forecast: the only place where they get their names.

    evaluation = evaluate_forecast(score_DNQ, Yardsticks.of(panel, days, config.portfolio), config)
    evaluation.metrics["rank_ic"], evaluation.daily.return_net

Names of the objective's horizon stand alone (`ic`, `sharpe`), those of others carry it (`ic_5d`):

    ic, ic_std, icir, ic_t            Pearson per day across stocks: mean, std over days,
                                      mean / std, t of the mean (`mean_error`)
    rank_ic, rank_ic_std, …           the same for Spearman
    pure_rank_ic, pure_rank_ic_std, … the same for residuals on sectors and styles (`attribution`)
    pure_days, pure_days_constant     scored so; forecasts that are nothing but sector and style
    style_exposure_<style>            mean Spearman correlation of the score with a style
    style_r2                          mean share of the score's variance that they explain
    score_autocorrelation             mean correlation of the day's ranks with the day before's
    score_variance                    mean variance across stocks, in units of the training label's
    ic_zero_share                     share of scored days whose IC is exactly 0: a dead forecast
    days, days_skipped, days_constant scored; not scored for any reason; of those, constant scores
    sharpe, sharpe_gross              √252 · mean / std of the daily portfolio return, net, gross
    sharpe_t                          t of the mean daily return (`mean_error`), net
    sharpe_daily, return_annual       mean / std and 252 · mean, net
    hit_rate, hit_rate_gross          share of days with a return above 0
    max_drawdown, max_drawdown_gross  largest fall of compounded equity from its peak, in [0, 1]
    turnover                          mean Σ|Δw| per day
    turnover_blocked                  share of the wished turnover that could not be traded

A day is scored when at least 20 stocks are alive with a score and a label, and neither is constant;
for pure RankIC there must be 20 more than sectors and styles. Without exposures the pure and style
metrics are absent.
Missing labels are left out, never zeroed. A metric that is undefined (no scored day, no variance)
is absent from the dictionary. There are no sign flags: a larger score means a larger return.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.evaluation.attribution import Attribution
from atft_hpo.evaluation.daily import HorizonDays, daily_results
from atft_hpo.evaluation.mean_error import t_of_mean
from atft_hpo.evaluation.portfolio import PortfolioSeries
from atft_hpo.evaluation.series import DailySeries, Floats, correlation_summary, mean_and_std
from atft_hpo.evaluation.yardsticks import Yardsticks

TRADING_DAYS: Final = 252
"""Trading days per year."""


@dataclass(frozen=True)
class Evaluation:
    """What a forecast is worth on a range of days."""

    metrics: dict[str, float]
    daily: DailySeries
    """Of the objective's horizon."""


def evaluate_forecast(
    score_DNQ: NDArray[np.floating],
    yardsticks: Yardsticks,
    config: Config,
    width_DNQ: NDArray[np.floating] | None = None,
    volatility_DN: NDArray[np.floating] | None = None,
) -> Evaluation:
    """Metrics of all horizons and the daily series of the objective's.

    Args:
        score_DNQ: point forecasts; NaN = none.
        yardsticks: labels and universe of the same days, horizons as `config.data.horizons_days`.
        width_DNQ: quantile width, for `portfolio.sizing = "uncertainty"`.
        volatility_DN: trailing volatility, for `portfolio.sizing = "inverse_volatility"`.

    Raises:
        ValueError: the sizing needs a width or a volatility that is not given.
    """
    risk_DNQ = width_DNQ if config.portfolio.sizing == "uncertainty" else None
    if config.portfolio.sizing == "inverse_volatility" and volatility_DN is not None:
        risk_DNQ = np.broadcast_to(volatility_DN[..., None], score_DNQ.shape)
    horizons = config.data.horizons_days
    found = daily_results(score_DNQ, yardsticks, config, risk_DNQ)
    metrics: dict[str, float] = {}
    for days, horizon in zip(found, horizons, strict=True):
        suffix = "" if horizon == config.objective.horizon_days else f"_{horizon}d"
        names = yardsticks.exposures.names if yardsticks.exposures else ()
        summary = _summary(days, horizon, names)
        metrics |= {name + suffix: value for name, value in summary.items()}
    objective = found[horizons.index(config.objective.horizon_days)]
    return Evaluation(metrics, _daily_series(yardsticks, objective))


def max_drawdown(returns: Floats) -> float:
    """Largest fall of compounded equity below its running peak, as a share of the peak."""
    equity = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    return float((1.0 - equity / np.maximum.accumulate(equity)).max())


def _summary(days: HorizonDays, horizon: int, styles: tuple[str, ...]) -> dict[str, float]:
    scored_D = np.isfinite(days.ic)
    found = {
        "days": float(scored_D.sum()),
        "days_skipped": float((~scored_D).sum()),
        "days_constant": float(days.constant.sum()),
        "ic_zero_share": float((days.ic[scored_D] == 0.0).mean()) if scored_D.any() else math.nan,
        **correlation_summary("ic", days.ic[scored_D], horizon),
        **correlation_summary("rank_ic", days.rank_ic[scored_D], horizon),
        **(_own_summary(days.own, horizon, styles) if days.own else {}),
        "score_autocorrelation": _mean_of_known(days.autocorrelation),
        "score_variance": _mean_of_known(days.variance),
        **_portfolio_summary(days.portfolio),
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _own_summary(own: Attribution, horizon: int, styles: tuple[str, ...]) -> dict[str, float]:
    known = own.pure_rank_ic[np.isfinite(own.pure_rank_ic)]
    by_style = zip(styles, own.style_exposure_DK.T, strict=True)
    exposures = {f"style_exposure_{name}": _mean_of_known(found_D) for name, found_D in by_style}
    return {
        **correlation_summary("pure_rank_ic", known, horizon),
        "pure_days": float(len(known)),
        "pure_days_constant": float(own.constant.sum()),
        "style_r2": _mean_of_known(own.style_r2),
        **exposures,
    }


def _mean_of_known(values_D: Floats) -> float:
    known = values_D[np.isfinite(values_D)]
    return float(known.mean()) if len(known) else math.nan


def _portfolio_summary(series: PortfolioSeries) -> dict[str, float]:
    measured_D = np.isfinite(series.net)
    if not measured_D.any():
        return {}
    net, gross = series.net[measured_D], series.gross[measured_D]
    mean, std = mean_and_std(net)
    gross_mean, gross_std = mean_and_std(gross)
    annual = math.sqrt(TRADING_DAYS)
    return {
        "sharpe": annual * mean / std if std > 0 else math.nan,
        "sharpe_gross": annual * gross_mean / gross_std if gross_std > 0 else math.nan,
        "sharpe_t": t_of_mean(net, overlap_days=1),
        "sharpe_daily": mean / std if std > 0 else math.nan,
        "return_annual": TRADING_DAYS * mean,
        "hit_rate": float((net > 0).mean()),
        "hit_rate_gross": float((gross > 0).mean()),
        "max_drawdown": max_drawdown(net),
        "max_drawdown_gross": max_drawdown(gross),
        "turnover": float(series.turnover[measured_D].mean()),
        "turnover_blocked": _blocked_share(series),
    }


def _blocked_share(series: PortfolioSeries) -> float:
    blocked = float(series.blocked.sum())
    wished = blocked + float(series.turnover.sum())
    return blocked / wished if wished > 0 else math.nan


def _daily_series(yardsticks: Yardsticks, days: HorizonDays) -> DailySeries:
    pure_D = days.own.pure_rank_ic if days.own else np.full(len(days.ic), np.nan)
    return DailySeries(
        dates=yardsticks.dates.astype("datetime64[D]"),
        ic=days.ic.astype(np.float32),
        rank_ic=days.rank_ic.astype(np.float32),
        return_gross=days.portfolio.gross.astype(np.float32),
        return_net=days.portfolio.net.astype(np.float32),
        turnover=days.portfolio.turnover.astype(np.float32),
        pure_rank_ic=pure_D.astype(np.float32),
        realised=yardsticks.trading.realised_D.astype("datetime64[D]"),
    )
