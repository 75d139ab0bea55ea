"""Date splits, for all stocks at once: train | gap | validation | gap | test.

The gap (purge of max horizon + delay, plus the embargo) is cut from the beginning of the later
range, so that the last training label ends before validation starts, and likewise before the test.
"""

from dataclasses import dataclass

from atft_hpo.config.data_schema import SplitConfig
from atft_hpo.errors import DataError

MIN_RANGE_DAYS = 10
"""A shorter range is an error: nothing can be measured on it."""


@dataclass(frozen=True)
class Split:
    """Ranges of day indices; ascending, disjoint, apart by at least max horizon + delay."""

    train: range
    validation: range
    test: range


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
    split = Split(train, validation, range(last + gap, days))
    _refuse_short(split, days, gap)
    return split


def _fold(whole: range, fold: int, folds: int) -> range:
    """Range `fold` of `folds` consecutive ones of about equal length."""
    cuts = [whole.start + len(whole) * k // folds for k in (fold, fold + 1)]
    return range(cuts[0], cuts[1])


def _refuse_short(split: Split, days: int, gap: int) -> None:
    for name, part in vars(split).items():
        if len(part) < MIN_RANGE_DAYS:
            raise DataError(
                f"{days} days of data leave {len(part)} for the {name} range (purge and embargo "
                f"take {gap}), expected at least {MIN_RANGE_DAYS}; give longer data, fewer folds, "
                "shorter horizons, or other split shares"
            )
