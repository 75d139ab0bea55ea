"""Folds cover all days before the test range, and never touch what they are judged on."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atft_hpo.data.sampling.splits import date_split
from atft_hpo.errors import DataError
from bench.real.folds import split_for, test_fold, walk_forward

SIZES = {"days": st.integers(700, 4000), "count": st.integers(1, 6), "horizon": st.integers(1, 20)}


@given(**SIZES)
def test_forecast_ranges_leave_no_hole_up_to_the_test_range(days, count, horizon):
    gap = horizon + 6
    folds = walk_forward(days, count, gap)
    assert len(folds) == count
    for before, after in pairwise(folds):
        assert before.days.stop == after.days.start
    assert folds[-1].days.stop + gap == test_fold(days, gap).days.start
    assert folds[0].days.start <= max(0.2 * days, 378) + gap + 1
    assert test_fold(days, gap).days.stop == days


@given(**SIZES)
def test_training_takes_everything_before_and_ends_a_gap_earlier(days, count, horizon):
    gap = horizon + 6
    for fold in (*walk_forward(days, count, gap), test_fold(days, gap)):
        assert fold.train == range(fold.days.start - gap)
        last_label_known = fold.train[-1] + 1 + horizon
        assert last_label_known < fold.days.start


@given(**SIZES)
def test_the_inner_range_lies_within_training_and_is_purged(days, count, horizon):
    gap = horizon + 6
    for fold in walk_forward(days, count, gap):
        fit, stop = fold.inner()
        assert fit.start == fold.train.start
        assert stop.stop == fold.train.stop
        assert fit.stop + gap == stop.start
        assert len(stop) == pytest.approx(0.15 * len(fold.train), abs=1)


@given(**SIZES)
def test_the_product_trains_on_the_same_days(days, count, horizon):
    gap = horizon + 6
    for fold in (*walk_forward(days, count, gap), test_fold(days, gap)):
        split = date_split(days, split_for(fold, days), horizon, delay_days=1)
        assert split.train == fold.train
        assert split.validation.start == fold.days.start


def test_a_fold_that_nothing_can_be_measured_on_is_refused():
    with pytest.raises(DataError, match="expected at least"):
        walk_forward(200, 6, 26)
    with pytest.raises(DataError, match="fewer folds"):
        walk_forward(260, 4, 11)
