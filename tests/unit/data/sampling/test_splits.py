import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atft_hpo.config.data_schema import SplitConfig
from atft_hpo.data.sampling.splits import MIN_RANGE_DAYS, date_split
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
