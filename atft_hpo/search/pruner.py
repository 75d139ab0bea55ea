"""The phase-aware pruner: ends a trial that is behind on Sharpe *and* on IC, day by day.

    verdict = decide(own, peers, config.search.pruner, config.objective)
    if verdict.prune: ...                     # verdict.reason is one sentence with the numbers

One year of daily returns cannot rank two trials by their own Sharpe ratios (standard error about
1.0), but their *differences* day by day have 5 to 14 times less noise, since trials trade the same
market. So a trial is compared with the peers that have the same epochs of the same phase; numbers
of other phases, which have other losses and other modules, are never mixed in.

`decide` is a pure function of epoch records: no database, no Optuna. Optuna's own pruners, which
see only one number an epoch, are in `stock_pruners`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.search_schema import ObjectiveConfig, PrunerConfig
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.errors import StudyError
from atft_hpo.evaluation.mean_error import mean_and_t
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.search.records import EpochRecord, EpochSeries
from atft_hpo.search.stock_pruners import optuna_pruner
from atft_hpo.training.phases.epoch_report import STEPS_PER_PHASE, EpochReport
from atft_hpo.training.phases.objective import ic_series

__all__ = ["Verdict", "compared_series", "decide", "exemption", "optuna_pruner"]

Floats = NDArray[np.float64]
_DAYS_A_YEAR = 252
_MIN_DAYS = 10
_RETURNS = "return_net"
_IC_LABELS = {"ic": "IC", "rank_ic": "rank IC", "pure_rank_ic": "pure rank IC"}


@dataclass(frozen=True)
class Verdict:
    """Whether to end the trial now, and why or why not, as one sentence."""

    prune: bool
    reason: str


@dataclass(frozen=True)
class _Measure:
    """Daily values of the trial (row 0) and its peers, and how to print their mean."""

    label: str
    unit: str
    factor: float
    digits: int
    values_MD: Floats
    overlap_days: int
    """Days that a value's label spans."""


@dataclass(frozen=True)
class _Standing:
    """Where the trial stands by one measure."""

    behind: bool
    sentence: str


def decide(
    own: Sequence[EpochRecord | EpochReport],
    peers: Mapping[int, Sequence[EpochRecord | EpochSeries]],
    config: PrunerConfig,
    objective: ObjectiveConfig,
) -> Verdict:
    """Whether the trial with epochs `own` is to end after its last one.

    Args:
        own: the trial's epochs, in order of step.
        peers: the other trials' epochs by trial number, whatever their state: running, pruned and
            finished ones are peers as far as they have the same steps.
        config: `keep_share`, `min_t`, `window_epochs`, `warmup_epochs`, `skip_phases`, `min_peers`.
        objective: its horizon is how long the labels of IC overlap; its metric says which IC.

    The trial's daily series are averaged over its last `window_epochs` epochs of the current phase,
    the peers' over the same steps. By Sharpe (daily net returns, each epoch's in units of its own
    standard deviation, so that their mean is the daily Sharpe ratio) and by IC alike, it is behind
    when it ranks outside of the better `keep_share` of all, and its paired daily difference to the
    mean of the peers in that better share has a t-statistic (`mean_error`) of at most −`min_t`.

    Raises:
        StudyError: an epoch to be compared has no daily series, or one of other days.
    """
    if not own:
        return Verdict(False, "no epoch yet")
    now = own[-1]
    place = f"phase {now.phase_name}, epoch {now.epoch + 1}"
    exempt = exemption(now.phase, now.epoch, config)
    if exempt:
        return Verdict(False, f"{place}: {exempt}")
    since = now.epoch - config.window_epochs
    window = [epoch for epoch in own if epoch.phase == now.phase and epoch.epoch > since]
    rivals = _same_steps(window, peers)
    if len(rivals) < config.min_peers:
        few = f"{len(rivals)} peers came so far, {config.min_peers} are needed"
        return Verdict(False, f"{place}: {few}")
    series = [_daily("this trial", window)]
    series += [_daily(f"trial {number}", epochs) for number, epochs in sorted(rivals.items())]
    _check_days(series)
    measures = (_sharpe(series), _ic(series, objective))
    standings = [_standing(measure, config) for measure in measures]
    behind = all(standing.behind for standing in standings)
    word = "behind" if behind else "kept"
    return Verdict(behind, f"{word} in {place}: {'; '.join(s.sentence for s in standings)}")


def compared_series(objective: ObjectiveConfig) -> tuple[str, str]:
    """The fields of `DailySeries` that `decide` looks at, beside the dates."""
    return _RETURNS, ic_series(objective)


def exemption(phase: int, epoch: int, config: PrunerConfig) -> str:
    """Why a trial is not judged after an epoch, whatever its peers did; empty when it is."""
    if phase < config.skip_phases:
        return f"the first {config.skip_phases} phase(s) never prune"
    if epoch < config.warmup_epochs:
        return f"warm-up of {config.warmup_epochs} epoch(s) in each phase"
    return ""


def _same_steps(
    window: Sequence[EpochRecord | EpochReport],
    peers: Mapping[int, Sequence[EpochRecord | EpochSeries]],
) -> dict[int, list[EpochRecord | EpochSeries]]:
    """The peers' epochs at the window's steps, for peers that have them all."""
    steps = {epoch.step for epoch in window}
    found = {n: [e for e in epochs if e.step in steps] for n, epochs in peers.items()}
    return {n: epochs for n, epochs in found.items() if len(epochs) == len(steps)}


def _daily(
    name: str, epochs: Sequence[EpochRecord | EpochReport | EpochSeries]
) -> list[DailySeries]:
    for epoch in epochs:
        if epoch.daily is None:
            phase, number = divmod(epoch.step, STEPS_PER_PHASE)
            raise StudyError(
                f"{name} has no daily series at phase {PHASE_NAMES[phase]}, epoch {number + 1}; "
                'the phase-aware pruner needs them: restore them or set search.pruner.kind = "none"'
            )
    return [epoch.daily for epoch in epochs if epoch.daily is not None]


def _check_days(series: Sequence[Sequence[DailySeries]]) -> None:
    """Series read from the database share their dates; each array is compared once."""
    first = series[0][0].dates
    distinct = {id(daily.dates): daily.dates for window in series for daily in window}
    for dates_D in distinct.values():
        if not np.array_equal(dates_D, first):
            raise StudyError(
                f"trials of this study were validated on different days ({len(first)} and "
                f"{len(dates_D)}); they cannot be compared: start a new study"
            )


def _sharpe(series: Sequence[Sequence[DailySeries]]) -> _Measure:
    returns_MWD = _stacked(series, _RETURNS)
    scaled_MD = _mean_of_finite(_in_own_deviations(returns_MWD), axis=1)
    return _Measure("net Sharpe", " a year", math.sqrt(_DAYS_A_YEAR), 2, scaled_MD, 1)


def _ic(series: Sequence[Sequence[DailySeries]], objective: ObjectiveConfig) -> _Measure:
    name = ic_series(objective)
    label = _IC_LABELS[name]
    ic_MWD = _stacked(series, name)
    mean_MD = _mean_of_finite(ic_MWD, axis=1)
    return _Measure(label, "", 1.0, 4, mean_MD, objective.horizon_days)


def _stacked(series: Sequence[Sequence[DailySeries]], name: str) -> Floats:
    """One field of every epoch: float64 [M, W, D]."""
    rows = [getattr(daily, name) for window in series for daily in window]
    return np.concatenate(rows, dtype=np.float64).reshape(len(series), len(series[0]), -1)


def _standing(measure: _Measure, config: PrunerConfig) -> _Standing:
    """The standing of row 0 among all rows; NaN marks days without a value."""
    values_MD = measure.values_MD
    enough_M = np.isfinite(values_MD).sum(axis=1) >= _MIN_DAYS
    scores_M = np.where(enough_M, _mean_of_finite(values_MD, axis=1), -np.inf)
    peers_M = scores_M[1:]
    rank = 1 + int((peers_M > scores_M[0]).sum())
    kept = math.ceil(config.keep_share * len(scores_M))
    threshold = np.sort(peers_M)[-min(kept, len(peers_M))]
    difference_D = values_MD[0] - _mean_of_finite(values_MD[1:][peers_M >= threshold], axis=0)
    difference_D = difference_D[np.isfinite(difference_D)]
    place = f"rank {rank} of {len(scores_M)}"
    if len(difference_D) < _MIN_DAYS:
        days = len(difference_D)
        return _Standing(False, f"{measure.label} unknown, {days} days in common ({place})")
    mean, t = mean_and_t(difference_D, measure.overlap_days)
    size = f"{mean * measure.factor:+.{measure.digits}f}{measure.unit}"
    sentence = (
        f"{measure.label} {size} against the better {config.keep_share:.0%} (t {t:+.1f}, {place})"
    )
    return _Standing(rank > kept and t <= -config.min_t, sentence)


def _in_own_deviations(returns_MWD: Floats) -> Floats:
    """Each series divided by its own standard deviation over days; one that never moves earns 0.

    In place: memory that is mapped anew costs more than the division.
    """
    squares_MWD = returns_MWD - _mean_of_finite(returns_MWD, axis=2)[..., None]
    squares_MWD *= squares_MWD
    std_MW1 = np.sqrt(_mean_of_finite(squares_MWD, axis=2))[..., None]
    returns_MWD /= np.where(std_MW1 > 0.0, std_MW1, np.inf)
    return returns_MWD


def _mean_of_finite(values: Floats, axis: int) -> Floats:
    """Mean over `axis` of finite values; NaN where there is none."""
    finite = np.isfinite(values)
    if finite.all() and values.shape[axis]:  # nearly always, at a fraction of the cost
        return np.asarray(values.mean(axis=axis))
    count = finite.sum(axis=axis)
    total = np.where(finite, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
