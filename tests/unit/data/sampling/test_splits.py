"""Shares of the days, and the dates that they come to: of this panel, and of others."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atft_hpo.config.data_schema import SplitConfig, SplitDates
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config, dump_config, parse_config
from atft_hpo.data.sampling.splits import (
    MIN_RANGE_DAYS,
    Split,
    date_split,
    dated,
    leave_out_late_exits,
    panel_split,
    shared_days,
)
from atft_hpo.errors import DataError


def test_the_documented_split_of_five_years():
    split = date_split(1259, SplitConfig(), max_horizon=20, delay_days=1)
    assert (split.train, split.validation) == (range(755), range(781, 1007))
    assert split.test == range(1033, 1259)


@settings(max_examples=80, deadline=None)
@given(
    days=st.integers(200, 3000),
    scheme=st.sampled_from(["single", "expanding", "rolling"]),
    folds=st.integers(1, 4),
    horizon=st.integers(1, 20),
    delay=st.integers(0, 2),
    embargo=st.integers(0, 10),
    data=st.data(),
)
def test_no_label_spans_into_the_next_range(days, scheme, folds, horizon, delay, embargo, data):
    fold = data.draw(st.integers(0, folds - 1))
    config = SplitConfig(scheme=scheme, folds=folds, fold=fold, embargo_days=embargo)
    try:
        split = date_split(days, config, horizon, delay)
    except DataError:
        assume(False)
    last_known = split.train[-1] + delay + horizon
    assert last_known + embargo < split.validation.start
    assert split.validation[-1] + delay + horizon + embargo < split.test.start
    assert split.train.start >= 0
    assert split.test.stop == days


def test_folds_tile_the_validation_range_and_share_the_test_range():
    parts = [
        date_split(1000, SplitConfig(scheme="expanding", folds=3, fold=k), 5, 1) for k in range(3)
    ]
    single = date_split(1000, SplitConfig(), 5, 1)
    tiled = [day for part in parts for day in part.validation]
    assert tiled == list(single.validation)
    assert {part.test for part in parts} == {single.test}
    assert [part.train.start for part in parts] == [0, 0, 0]
    assert parts[0].train == single.train


def test_rolling_keeps_the_length_of_the_training_range():
    parts = [
        date_split(1000, SplitConfig(scheme="rolling", folds=3, fold=k), 5, 1) for k in range(3)
    ]
    assert {len(part.train) for part in parts} == {600}
    assert parts[2].train.start > parts[1].train.start > 0


def test_one_fold_is_the_single_split():
    assert date_split(500, SplitConfig(scheme="expanding"), 5, 1) == date_split(
        500, SplitConfig(), 5, 1
    )


def test_too_short_a_range_is_named():
    with pytest.raises(
        DataError, match=rf"140 days of data leave 2 for the validation.*{MIN_RANGE_DAYS}"
    ):
        date_split(140, SplitConfig(), 20, 1)


TRADING_DAYS = np.busday_offset("2015-01-01", np.arange(4000), roll="forward")


def panel_of(days: range) -> Any:
    """Only what splitting reads: the trading days, and how far labels reach."""
    manifest = SimpleNamespace(horizons_days=(1, 5), delay_days=1)
    return SimpleNamespace(dates=TRADING_DAYS[days.start : days.stop], manifest=manifest)


def dated_of(days: range, **split: Any) -> Config:
    return dated(build_config({"data": {"horizons_days": [1, 5]}, "split": split}), panel_of(days))


def days_of(panel: Any, part: range) -> list[Any]:
    return panel.dates[part.start : part.stop].tolist()  # type: ignore[no-any-return]


@settings(max_examples=60, deadline=None)
@given(
    days=st.integers(300, 2000),
    scheme=st.sampled_from(["single", "expanding", "rolling"]),
    folds=st.integers(1, 3),
    added=st.integers(0, 300),
    cut=st.integers(0, 300),
    data=st.data(),
)
def test_dates_stay_whatever_the_panel(days, scheme, folds, added, cut, data):
    """On its own panel: what shares give, to the day. On any other: the same days, or fewer."""
    fold = data.draw(st.integers(0, folds - 1))
    shares = {"scheme": scheme, "folds": folds, "fold": fold, "train_share": 0.5}
    config, own = dated_of(range(days), **shares), panel_of(range(days))
    split = panel_split(own, config.split)
    assert split == date_split(days, SplitConfig(**shares), 5, 1)
    assert parse_config(dump_config(config)) == config

    other = panel_of(range(cut, days + added))
    found = panel_split(other, config.split)
    for name in ("train", "validation", "test"):
        expected = [day for day in days_of(own, getattr(split, name)) if day in other.dates]
        assert days_of(other, getattr(found, name)) == expected
    assert days_of(other, found.live) == TRADING_DAYS[days : days + added].tolist()


def test_a_panel_that_has_grown_by_250_days():
    """By shares, the first days of the old test range would have become validation."""
    config, grown = dated_of(range(1000)), panel_of(range(1250))
    found = panel_split(grown, config.split)
    assert found == Split(range(600), range(611, 800), range(811, 1000), range(1000, 1250))
    by_shares = panel_split(grown, SplitConfig())
    assert shared_days(by_shares.validation, found.test) > 100
    assert dated(config, grown) is config, "and it is trained on the same days"


def test_a_panel_of_live_days_only():
    config = dated_of(range(1000))
    found = panel_split(panel_of(range(1100, 1270)), config.split)
    assert found == Split(range(0), range(0), range(0), range(170))


def test_days_between_the_ranges_belong_to_none():
    split = panel_split(panel_of(range(1000)), dated_of(range(1000)).split)
    assert [shared_days(range(600, 611), part) for part in vars(split).values()] == [0, 0, 0, 0]
    assert shared_days(range(605, 615), split.validation) == 4
    assert shared_days(range(3), range(7, 9)) == 0


@pytest.mark.parametrize("days", [range(1, 1000), range(799), range(2000, 3000)])
def test_a_training_on_dates_needs_all_of_its_days(days):
    with pytest.raises(DataError, match=r"trains from 2015-01-01.*panel has days from 20\d\d"):
        dated(dated_of(range(1000)), panel_of(days))


def test_a_training_on_dates_does_not_need_the_test_range():
    config = dated_of(range(1000))
    assert dated(config, panel_of(range(800))) is config


def test_the_gaps_are_kept_beside_the_dates():
    dates = dated_of(range(1000), embargo_days=3).split.dates
    assert isinstance(dates, SplitDates)
    assert (dates.purge_days, dates.embargo_days) == (6, 3)
    assert str(dates.test_last) == str(TRADING_DAYS[999])


def test_a_label_left_in_the_validation_range_is_no_training_label():
    """One stock is halted from before its labels are due until after validation begins; another
    does not trade any more, but has closes, to the last of which its labels are marked."""
    split = Split(range(10), range(13, 20), range(23, 30), range(30, 30))
    tradable, present = np.ones((30, 4), bool), np.ones((30, 4), bool)
    tradable[9:14, 0] = False
    tradable[9:, 1] = False
    tradable[9:, 2] = present[12:, 2] = False  # delisted: its last close is before validation
    manifest = SimpleNamespace(horizons_days=(1, 2), delay_days=1)
    panel = SimpleNamespace(tradable=tradable, present=present, manifest=manifest)
    returns = np.zeros((30, 4, 2))
    leave_out_late_exits(returns, panel, split.train, split.validation.start)
    for stock in (0, 1):
        assert np.flatnonzero(np.isnan(returns[:, stock, 0])).tolist() == [7, 8, 9]
        assert np.flatnonzero(np.isnan(returns[:, stock, 1])).tolist() == [6, 7, 8, 9]
    assert not np.isnan(returns[:, 2:]).any()
