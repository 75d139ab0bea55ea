"""Walk-forward folds over all years before the test range, and the test range itself.

    folds = walk_forward(days=2370, count=4, gap=11)
    fold = test_fold(days=2370, gap=11)           # trained on everything before the test range

The test range is the last 20 % of the days. The folds' forecast ranges follow one another without
a hole, from the first that has enough history to the last day before the test range; each fold
trains on everything before its range. Between a training range and what it is judged on lie
`gap` days: the longest label (horizon + delay) and an embargo.
"""

from dataclasses import dataclass
from typing import Final

from atft_hpo.config.data_schema import SplitConfig
from atft_hpo.data.sampling.splits import MIN_RANGE_DAYS, date_split
from atft_hpo.errors import DataError

EMBARGO_DAYS: Final = 5
TEST_SHARE: Final = 0.2
HISTORY_SHARE: Final = 0.2
"""Least share of the days that the first fold trains on …"""
HISTORY_DAYS: Final = 378
"""… and least number of days, half of which the longest features take to fill …"""
MAX_HISTORY_SHARE: Final = 0.4
"""… unless that were more than this share."""
INNER_SHARE: Final = 0.15
"""Last share of a training range that early stopping and penalties are chosen on."""


@dataclass(frozen=True)
class Fold:
    """Day indices of a panel: what is learned from, and what is forecast."""

    number: int
    train: range
    days: range
    gap: int
    """Days between the two, at least."""

    def inner(self) -> tuple[range, range]:
        """The training range without its end, and that end; apart by `gap` days."""
        start = self.train.stop - round(len(self.train) * INNER_SHARE)
        return range(self.train.start, start - self.gap), range(start, self.train.stop)


def walk_forward(days: int, count: int, gap: int) -> tuple[Fold, ...]:
    """`count` expanding folds of a panel of `days` trading days.

    Raises:
        DataError: too few days for so many folds.
    """
    first = min(MAX_HISTORY_SHARE, max(HISTORY_SHARE, HISTORY_DAYS / days))
    folds = []
    for number in range(count):
        split = date_split(
            days,
            SplitConfig(
                train_share=first,
                validation_share=1 - TEST_SHARE - first,
                embargo_days=gap,  # horizon and delay are in it already
                scheme="expanding",
                folds=count,
                fold=number,
            ),
            max_horizon=0,
            delay_days=0,
        )
        folds.append(Fold(number, split.train, split.validation, gap))
    return tuple(_checked(fold) for fold in folds)


def test_fold(days: int, gap: int) -> Fold:
    """The test range, and everything before it to learn from."""
    start = round(days * (1 - TEST_SHARE)) + gap
    return _checked(Fold(0, range(start - gap), range(start, days), gap))


test_fold.__test__ = False  # type: ignore[attr-defined]  # no test, whatever its name says


def split_for(fold: Fold, days: int) -> SplitConfig:
    """A `single` split that trains on `fold.train`; its validation range is the next few days.

    The product's loop measures every epoch on its validation range. Here nothing is chosen by
    that, so it is kept as short as it may be; the fold's days are forecast afterwards.
    """
    return SplitConfig(
        train_share=fold.train.stop / days,
        validation_share=(fold.gap + MIN_RANGE_DAYS) / days,
        embargo_days=EMBARGO_DAYS,
    )


def _checked(fold: Fold) -> Fold:
    fit, stop = fold.inner()
    short = {"training": len(fit), "early-stop": len(stop), "forecast": len(fold.days)}
    for name, length in short.items():
        if length < 2 * MIN_RANGE_DAYS:
            raise DataError(
                f"fold {fold.number} has {length} days in its {name} range, expected at least "
                f"{2 * MIN_RANGE_DAYS}; give fewer folds, shorter horizons or longer data"
            )
    return fold
