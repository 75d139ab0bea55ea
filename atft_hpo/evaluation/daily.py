"""A forecast day by day: correlations with its yardsticks, and the portfolio it would have held.

    for days in daily_results(score_DNQ, yardsticks, config):      # one of each horizon
        days.rank_ic, days.portfolio.net

First what each day has by itself, for all horizons, a block of days at a time and the blocks in
threads; then what goes from one day to the next, the horizons in threads. `evaluation.metrics` sums
it up.
"""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.schema import Config
from atft_hpo.evaluation.attribution import Attribution, attribute, rank_autocorrelation
from atft_hpo.evaluation.day_blocks import day_blocks, in_threads
from atft_hpo.evaluation.portfolio import (
    PortfolioSeries,
    carry_forward,
    day_weights,
    hold_tranches,
    portfolio_returns,
)
from atft_hpo.evaluation.series import MIN_STOCKS, Bools, Centred, Floats, Ranked, masked_ranks
from atft_hpo.evaluation.yardsticks import Yardstick, Yardsticks


@dataclass(frozen=True, eq=False)
class HorizonDays:
    """Daily results of one horizon. Correlations are NaN on days that are not scored."""

    ic: Floats
    rank_ic: Floats
    constant: Bools
    """Days with stocks enough whose scores are all equal."""
    variance: Floats
    """Of the scores across the day's used stocks; NaN with fewer than MIN_STOCKS."""
    autocorrelation: Floats
    portfolio: PortfolioSeries
    own: Attribution | None


@dataclass(frozen=True, eq=False)
class _Alone:
    """What some days of one horizon have without the days before them."""

    ic: Floats
    rank_ic: Floats
    constant: Bools
    variance: Floats
    weights_DN: Floats
    has_target: Bools
    rank_DN: NDArray[np.float32]
    own: Attribution | None


Part = TypeVar("Part", _Alone, Attribution)


def daily_results(
    score_DNQ: NDArray[np.floating],
    yardsticks: Yardsticks,
    config: Config,
    risk_DNQ: NDArray[np.floating] | None = None,
) -> list[HorizonDays]:
    """Of each horizon; `risk_DNQ` as in `portfolio.day_weights`.

    Raises:
        ValueError: the sizing needs a risk that is not given.
    """
    horizons = config.data.horizons_days

    def alone(days: slice) -> list[_Alone]:
        found = []
        for q in range(len(horizons)):
            score_DN = np.ascontiguousarray(score_DNQ[days, :, q])
            risk_DN = None if risk_DNQ is None else risk_DNQ[days, :, q]
            alive_DN = yardsticks.alive_DN[days]
            weights = day_weights(score_DN, alive_DN, config.portfolio, risk_DN)
            yardstick = yardsticks.yardstick(q, days, score_DN)
            found.append(_alone(score_DN, yardstick, *weights))
        return found

    def together(q: int) -> HorizonDays:
        days = _joined([block[q] for block in blocks])
        wished_DN = hold_tranches(carry_forward(days.weights_DN, days.has_target), horizons[q])
        return HorizonDays(
            ic=days.ic,
            rank_ic=days.rank_ic,
            constant=days.constant,
            variance=days.variance,
            autocorrelation=rank_autocorrelation(days.rank_DN),
            portfolio=portfolio_returns(wished_DN, yardsticks.trading, config.portfolio.cost_bps),
            own=days.own,
        )

    blocks = in_threads(alone, day_blocks(len(score_DNQ)))
    return in_threads(together, range(len(horizons)))


def _alone(
    score_DN: NDArray[np.floating], yardstick: Yardstick, weights_DN: Floats, has_target: Bools
) -> _Alone:
    used_DN, count_D = yardstick.used_DN, yardstick.count_D
    enough_D = count_D >= MIN_STOCKS
    rank_DN = masked_ranks(score_DN, used_DN)
    score, rank = Centred.of(score_DN, used_DN), Ranked.of(rank_DN, count_D)
    constant_D = rank.square_D == 0.0
    scored_D = enough_D & ~constant_D & (yardstick.rank.square_D > 0.0)
    variance_D = score.square_D / np.maximum(count_D, 1)
    pure = yardstick.pure
    return _Alone(
        ic=np.where(scored_D, score.correlation(yardstick.label), np.nan),
        rank_ic=np.where(scored_D, rank.correlation(yardstick.rank), np.nan),
        constant=enough_D & constant_D,
        variance=np.where(enough_D, variance_D, np.nan),
        weights_DN=weights_DN,
        has_target=has_target,
        rank_DN=rank_DN,
        own=attribute(score_DN, rank, variance_D, pure) if pure else None,
    )


def _joined(parts: list[Part]) -> Part:
    """One of the days of all."""

    def column(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], Attribution):
            return _joined(values)
        return None if values[0] is None else np.concatenate(values)

    return type(parts[0])(**{field.name: column(field.name) for field in fields(parts[0])})
