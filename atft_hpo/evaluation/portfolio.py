"""From scores to a daily portfolio return: the one definition that evaluation and backtest share.

    targets = target_weights(score_DN, alive_DN, config.portfolio)
    wished = hold_tranches(targets, horizon_days)
    series = portfolio_returns(wished, trading, config.portfolio.cost_bps)

Conventions
- A day's target is dollar-neutral (Σw = 0) with gross exposure 1 (Σ|w| = 1), from scores alone: it
  never looks at whether a label exists.
- A day without a target (too few stocks, constant scores) keeps yesterday's weights: no trade.
- A stock that cannot be traded at the close at which a decision is carried out keeps its weight
  until it can (`Trading`): it is neither dropped beforehand (that would look ahead) nor are the
  others scaled up. It earns nothing while it has no price, and the whole jump afterwards.
- A delisted stock's position becomes cash, at no cost, after `portfolio.delisting_return`.
- The book starts from cash, so the first day's turnover is its gross exposure. Weights are
  rebalanced to target each day; their drift within a day is not traded.

A differentiable twin for the Sharpe loss is `training.loss.differentiable`; tests hold them equal.
It does not model market impact, borrow fees or lot sizes.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import PortfolioConfig
from atft_hpo.data.array_statistics.rolling import trailing_sum
from atft_hpo.data.store.trading import Trading
from atft_hpo.evaluation.day_blocks import day_blocks
from atft_hpo.evaluation.series import MIN_STOCKS, Bools, Floats

VOLATILITY_DAYS: Final = 60
"""Trailing window of the volatility that `inverse_volatility` divides by, trading days."""
DECILES: Final = 10
BASIS_POINT: Final = 1e-4


class PortfolioSeries(NamedTuple):
    """Daily series [D]; returns are NaN on days when nothing held has one."""

    gross: Floats
    """Σ w y, as a share of capital."""
    net: Floats
    """`gross` less cost_bps · 1e-4 · turnover."""
    turnover: Floats
    """Σ|w_d − w_{d−1}|, with w = 0 before the first day."""
    blocked: Floats
    """Turnover wished that day, for the wished weights less those held, but not possible."""


def target_weights(
    score_DN: NDArray[np.floating],
    alive_DN: Bools,
    config: PortfolioConfig,
    risk_DN: NDArray[np.floating] | None = None,
    min_stocks: int = MIN_STOCKS,
) -> Floats:
    """Target weights [D, N] of each day's scores under `config.sizing`.

    Arguments and errors are those of `day_weights`.
    """
    return carry_forward(*day_weights(score_DN, alive_DN, config, risk_DN, min_stocks))


def day_weights(
    score_DN: NDArray[np.floating],
    alive_DN: Bools,
    config: PortfolioConfig,
    risk_DN: NDArray[np.floating] | None = None,
    min_stocks: int = MIN_STOCKS,
) -> tuple[Floats, Bools]:
    """Target weights [D, N] of each day by itself, and [D] whether the day has a target.

    `risk_DN` is what `inverse_volatility` (trailing volatility) and `uncertainty` (quantile width)
    divide by; where it is missing or zero the day's median stands in.

    Raises:
        ValueError: the sizing needs `risk_DN` and none is given.
    """
    tradable_DN = alive_DN & np.isfinite(score_DN)
    exact_DN = np.where(tradable_DN, score_DN, 0.0).astype(np.float64)
    if config.sizing == "decile":
        raw_DN = _deciles(exact_DN, tradable_DN)
    else:
        raw_DN = np.clip(_zscore(exact_DN, tradable_DN), -config.clip, config.clip)
        if config.sizing != "zscore":
            raw_DN = raw_DN / _risk(risk_DN, tradable_DN, config.sizing)
    neutral_DN = (raw_DN - _mean(raw_DN, tradable_DN)) * tradable_DN
    gross_D = np.abs(neutral_DN).sum(axis=1)
    scored_D = (tradable_DN.sum(axis=1) >= min_stocks) & ~constant_days(exact_DN, tradable_DN)
    weights_DN = neutral_DN / np.where(gross_D > 0, gross_D, 1.0)[:, None]
    return weights_DN, scored_D & (gross_D > 0)


def carry_forward(weights_DN: Floats, scored_D: Bools) -> Floats:
    """The weights of each day or, where it has no target, of the last that has one; else 0."""
    if scored_D.all():
        return weights_DN
    last_D = np.maximum.accumulate(np.where(scored_D, np.arange(len(scored_D)), -1))
    return np.asarray(np.where(last_D[:, None] >= 0, weights_DN[np.maximum(last_D, 0)], 0.0))


def hold_tranches(target_DN: Floats, horizon_days: int) -> Floats:
    """Weights [D, N] held when each day's target is one of `horizon_days` overlapping tranches.

    A tranche opened on day d with 1/h of the capital is held h days, so the book on day d is the
    mean of the last h targets; on the first h − 1 days the rest is cash (Jegadeesh & Titman 1993).
    """
    return trailing_sum(target_DN, horizon_days) / horizon_days


def carried_out(wished_DN: Floats, trading: Trading) -> Floats:
    """Weights [D, N] held: of each stock those wished on the last day on which it could be traded.

    0 before the first such day, and after a delisting.
    """
    day_D1 = np.arange(len(wished_DN))[:, None]
    last_DN = np.maximum.accumulate(np.where(trading.executable_DN, day_D1, -1), axis=0)
    held_DN = np.take_along_axis(wished_DN, np.maximum(last_DN, 0), axis=0)
    return np.where((last_DN >= 0) & trading.listed_DN, held_DN, 0.0)


def portfolio_returns(wished_DN: Floats, trading: Trading, cost_bps: float) -> PortfolioSeries:
    """Daily returns of the book that wants to hold `wished_DN`, marked to market every day."""
    if not (trading.executable_DN.all() and trading.listed_DN.all()):
        held_DN = carried_out(wished_DN, trading)
    else:
        held_DN = wished_DN
    blocks = [_earned(wished_DN, held_DN, trading, days) for days in day_blocks(len(held_DN))]
    gross_D, turnover_D, blocked_D = (np.concatenate(p) for p in zip(*blocks, strict=True))
    net_D = gross_D - cost_bps * BASIS_POINT * turnover_D
    return PortfolioSeries(gross_D, net_D, turnover_D, blocked_D)


def constant_days(values_DN: NDArray[np.floating], mask_DN: Bools) -> Bools:
    """[D] True where all masked values of a day are equal (also when there are none)."""
    masked_DN = np.where(mask_DN, values_DN, np.nan)
    return np.asarray(~(np.fmax.reduce(masked_DN, axis=1) > np.fmin.reduce(masked_DN, axis=1)))


def _earned(
    wished_DN: Floats, held_DN: Floats, trading: Trading, days: slice
) -> tuple[Floats, Floats, Floats]:
    """Gross return, turnover and blocked turnover of some days."""
    book_DN, return_DN = held_DN[days], trading.position_DN[days]
    listed_DN, executable_DN = trading.listed_DN[days], trading.executable_DN[days]
    known_DN = np.isfinite(return_DN)
    earned_DN = np.where(known_DN, book_DN * return_DN, 0.0)
    measured_D = (known_DN & (book_DN != 0.0)).any(axis=1)
    gross_D = np.where(measured_D, earned_DN.sum(axis=1), np.nan)
    before_DN = held_DN[days.start - 1 : days.start] if days.start else np.zeros_like(book_DN[:1])
    # What a delisting turns into cash is not traded.
    traded_DN = np.abs(np.diff(book_DN, axis=0, prepend=before_DN)) * listed_DN
    blocked_DN = np.where(listed_DN & ~executable_DN, np.abs(wished_DN[days] - book_DN), 0.0)
    return gross_D, traded_DN.sum(axis=1), blocked_DN.sum(axis=1)


def _zscore(score_DN: Floats, mask_DN: Bools) -> Floats:
    centred_DN = (score_DN - _mean(score_DN, mask_DN)) * mask_DN
    std_D1 = np.sqrt(_mean(centred_DN**2, mask_DN))
    return centred_DN / np.where(std_D1 > 0, std_D1, 1.0)


def _deciles(score_DN: Floats, mask_DN: Bools) -> Floats:
    """+1 in the top decile, −1 in the bottom one; ties go by column so that counts are exact."""
    order_DN = np.argsort(np.where(mask_DN, score_DN, np.inf), axis=1, kind="stable")
    position_DN = np.empty_like(order_DN)
    np.put_along_axis(position_DN, order_DN, np.arange(score_DN.shape[1])[None, :], axis=1)
    count_D1 = mask_DN.sum(axis=1, keepdims=True)
    size_D1 = np.maximum(count_D1 // DECILES, 1)
    top_DN: Bools = (position_DN >= count_D1 - size_D1) & mask_DN
    bottom_DN: Bools = (position_DN < size_D1) & mask_DN
    return top_DN.astype(np.float64) - bottom_DN.astype(np.float64)


def _risk(risk_DN: NDArray[np.floating] | None, mask_DN: Bools, sizing: str) -> Floats:
    if risk_DN is None:
        raise ValueError(f"portfolio.sizing = {sizing!r} needs the risk of each stock and day")
    usable_DN = mask_DN & np.isfinite(risk_DN) & (risk_DN > 0)
    median_D1 = np.ones((len(risk_DN), 1))
    for day in np.flatnonzero(usable_DN.any(axis=1)):
        median_D1[day] = np.median(risk_DN[day, usable_DN[day]])
    return np.where(usable_DN, risk_DN, median_D1).astype(np.float64)


def _mean(values_DN: Floats, mask_DN: Bools) -> Floats:
    """[D, 1] over the masked stocks; the values of others must be 0."""
    count_D1 = np.maximum(mask_DN.sum(axis=1, keepdims=True), 1)
    return np.asarray(values_DN.sum(axis=1, keepdims=True) / count_D1)
