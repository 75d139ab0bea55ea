"""Date splits, for all stocks at once: train | gap | validation | gap | test | live.

    config = dated(config, panel)               # once, when a study or a training begins
    split = panel_split(panel, config.split)    # of this panel, or of one that has grown

The gap (purge of max horizon + delay, plus the embargo) is cut from the beginning of the later
range, so that the last training label ends before validation starts, and likewise before the test.
Shares of the days are resolved to dates once; those stay where they are when days are added, and
the days after the data that they were found for are live.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import SplitConfig, SplitDates
from atft_hpo.config.schema import Config
from atft_hpo.data.store.labels import next_tradable
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import DataError

MIN_RANGE_DAYS = 10
"""A shorter range is an error where one is trained or chosen by: nothing can be measured on it."""


@dataclass(frozen=True)
class Split:
    """Ranges of day indices of one panel; ascending, disjoint, apart by max horizon + delay.

    A panel that has no day of a range has an empty one.
    """

    train: range
    validation: range
    test: range
    live: range
    """After the data that the split was made for: neither trained on nor chosen by."""


def date_split(days: int, config: SplitConfig, max_horizon: int, delay_days: int) -> Split:
    """The split of a panel of `days` trading days.

    `single`: shares of the days in order. Walk-forward (`expanding`, `rolling`): the validation
    share is cut into `folds` consecutive ranges; fold k trains on what lies before range k (all of
    it, or the latest train share). All folds and schemes share one test range.

    Raises:
        DataError: a range has fewer than MIN_RANGE_DAYS days.
    """
    gap = max_horizon + delay_days + config.embargo_days
    first = round(days * config.train_share)
    last = round(days * (config.train_share + config.validation_share))
    validation, begin = range(first + gap, last), 0
    if config.scheme != "single":
        validation = _fold(validation, config.fold, config.folds)
        if config.scheme == "rolling":
            begin = validation.start - gap - first
    train = range(begin, validation.start - gap)
    split = Split(train, validation, range(last + gap, days), range(days, days))
    _refuse_short(split, days, gap)
    return split


def dated_split(days_D: NDArray[np.datetime64], dates: SplitDates) -> Split:
    """Where the ranges of `dates` lie among the ascending trading days of a panel."""

    def between(first: date, last: date) -> range:
        begin = int(np.searchsorted(days_D, np.datetime64(first, "D"), side="left"))
        return range(begin, int(np.searchsorted(days_D, np.datetime64(last, "D"), side="right")))

    test = between(dates.test_first, dates.test_last)
    return Split(
        train=between(dates.train_first, dates.train_last),
        validation=between(dates.validation_first, dates.validation_last),
        test=test,
        live=range(test.stop, len(days_D)),
    )


def panel_split(panel: Panel, config: SplitConfig) -> Split:
    """The ranges of `config` on the days of `panel`.

    Raises:
        DataError: the panel is too short for shares of its days.
    """
    if config.dates is not None:
        return dated_split(panel.dates, config.dates)
    manifest = panel.manifest
    return date_split(len(panel.dates), config, max(manifest.horizons_days), manifest.delay_days)


def dated(config: Config, panel: Panel) -> Config:
    """`config` with its split as dates, which `panel` has; one that has dates keeps them.

    Raises:
        DataError: the panel is too short for the split, or lacks days of its training or
            validation range.
    """
    split = panel_split(panel, config.split)
    if config.split.dates is not None:
        _refuse_lacking(split, panel, config.split.dates)
        return config
    days: list[date] = panel.dates.tolist()
    manifest = panel.manifest
    dates = SplitDates(
        train_first=days[split.train[0]],
        train_last=days[split.train[-1]],
        validation_first=days[split.validation[0]],
        validation_last=days[split.validation[-1]],
        test_first=days[split.test[0]],
        test_last=days[split.test[-1]],
        purge_days=max(manifest.horizons_days) + manifest.delay_days,
        embargo_days=config.split.embargo_days,
    )
    return config.model_copy(update={"split": SplitConfig(dates=dates)})


def scored_returns(panel: Panel) -> NDArray[np.float32]:
    """[D, N, Q] labels of the stocks of each day's universe, NaN elsewhere."""
    return np.where(panel.alive[..., None], panel.targets, np.float32(np.nan))


def leave_out_late_exits(
    return_DNQ: NDArray[np.float32], panel: Panel, train: range, limit: int
) -> None:
    """Make labels of the train range NaN, in place, whose exit is on day `limit` or later.

    A stock that cannot be traded when its label is due is left later (`labels`), over a long halt
    later than the purge provides for; or it is marked to its last close, which is held out as well
    where it has rows there, though none at which it could be traded.

    Args:
        return_DNQ: all days of the panel.
        train: days learned from.
        limit: the first day that is held out; with the purge, no label of `train` is due there.
    """
    exit_DN = next_tradable(panel.tradable[:limit])
    later_N = panel.present[limit:].any(axis=0)
    due_D = np.arange(train.start, train.stop) + panel.manifest.delay_days
    for q, horizon in enumerate(panel.manifest.horizons_days):
        late_DN = (exit_DN[np.minimum(due_D + horizon, limit - 1)] == limit) & later_N
        return_DNQ[train.start : train.stop, :, q][late_DN] = np.nan


def shared_days(one: range, other: range) -> int:
    """How many days two ranges have in common."""
    return max(0, min(one.stop, other.stop) - max(one.start, other.start))


def _fold(whole: range, fold: int, folds: int) -> range:
    """Range `fold` of `folds` consecutive ones of about equal length."""
    cuts = [whole.start + len(whole) * k // folds for k in (fold, fold + 1)]
    return range(cuts[0], cuts[1])


def _refuse_short(split: Split, days: int, gap: int) -> None:
    for name in ("train", "validation", "test"):
        part: range = getattr(split, name)
        if len(part) < MIN_RANGE_DAYS:
            raise DataError(
                f"{days} days of data leave {len(part)} for the {name} range (purge and embargo "
                f"take {gap}), expected at least {MIN_RANGE_DAYS}; give longer data, fewer folds, "
                "shorter horizons, or other split shares"
            )


def _refuse_lacking(split: Split, panel: Panel, dates: SplitDates) -> None:
    """A training on `dates` must not be one on fewer days without a word."""
    first, last = panel.dates[0].item(), panel.dates[-1].item()
    lacking = first > dates.train_first or last < dates.validation_last
    if lacking or min(len(split.train), len(split.validation)) < MIN_RANGE_DAYS:
        raise DataError(
            f"split.dates trains from {dates.train_first} and validates to "
            f"{dates.validation_last}, the panel has days from {first} to {last}, "
            f"{len(split.train)} of them to train on and {len(split.validation)} to validate on; "
            "give the data that the dates were found for, or longer ones, or leave out "
            "[split.dates] to have the ranges found anew"
        )
