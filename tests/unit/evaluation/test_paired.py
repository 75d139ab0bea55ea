"""Paired differences by hand, and intervals that cover as often as they say."""

import numpy as np
import pytest

from atft_hpo.evaluation.paired import INTERVAL, paired_difference, paired_t
from atft_hpo.evaluation.series import newey_west_error


def test_paired_t_without_lag_is_the_textbook_one() -> None:
    difference = np.random.default_rng(3).standard_normal(200) + 0.1
    mean, t = paired_t(difference, 0)
    assert mean == pytest.approx(difference.mean())
    assert t == pytest.approx(difference.mean() / (difference.std() / np.sqrt(200)))


def test_paired_t_by_hand_with_one_lag() -> None:
    difference = np.array([1.0, 3.0, 2.0, 6.0])
    centred = difference - 3.0
    variance = (centred @ centred + 2 * 0.5 * (centred[1:] @ centred[:-1])) / 4
    assert paired_t(difference, 1) == (3.0, pytest.approx(3.0 / np.sqrt(variance / 4)))


def test_overlapping_labels_need_the_lag() -> None:
    """Sums of 5 overlapping days: without lags, half of all noise looks significant."""
    rng = np.random.default_rng(4)
    series = [np.convolve(rng.standard_normal(254), np.ones(5), "valid") for _ in range(300)]
    plain, corrected = (np.mean([abs(paired_t(s, lag)[1]) > 2 for s in series]) for lag in (0, 5))
    assert plain > 0.3
    assert corrected < 0.15


def test_constant_differences_are_certain() -> None:
    assert paired_t(np.full(20, -0.1), 1) == (pytest.approx(-0.1), -np.inf)
    assert paired_t(np.zeros(20), 1) == (0.0, 0.0)


def test_days_that_one_has_not_are_left_out() -> None:
    a = np.array([0.1, np.nan, 0.3, 0.5, 0.2], dtype=np.float32)
    b = np.array([0.0, 0.2, 0.1, np.nan, 0.3], dtype=np.float32)
    found = paired_difference(a, b, 1)
    assert found is not None
    difference = np.array([0.1, 0.2, -0.1])
    assert found.days == 3
    assert found.mean == pytest.approx(difference.mean(), abs=1e-6)
    assert found.standard_error == pytest.approx(newey_west_error(difference, 1), abs=1e-6)
    assert found.t == pytest.approx(found.mean / found.standard_error)
    assert found.low < found.mean < found.high


def test_a_difference_and_its_negation_mirror_each_other() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 100))
    there, back = paired_difference(a, b, 5), paired_difference(b, a, 5)
    assert there is not None
    assert back is not None
    assert (there.mean, there.t) == (pytest.approx(-back.mean), pytest.approx(-back.t))
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))


def test_the_seed_decides_the_interval_alone() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 100))
    assert paired_difference(a, b, 1, seed=3) == paired_difference(a, b, 1, seed=3)
    other = paired_difference(a, b, 1, seed=4)
    assert other is not None
    found = paired_difference(a, b, 1, seed=3)
    assert found is not None
    assert (found.mean, found.t) == (other.mean, other.t)
    assert (found.low, found.high) != (other.low, other.high)


@pytest.mark.parametrize("lag", [1, 5])
def test_intervals_cover_the_truth_about_as_often_as_they_say(lag: int) -> None:
    """Moving sums of `lag` days are what overlapping labels give."""
    rng = np.random.default_rng(lag)
    zero = np.zeros(400)
    covered = []
    for _ in range(200):
        series = np.convolve(rng.normal(size=400 + lag - 1), np.ones(lag), "valid")
        found = paired_difference(series, zero, lag)
        assert found is not None
        covered.append(found.low < 0.0 < found.high)
    assert INTERVAL - 0.1 < np.mean(covered) < INTERVAL + 0.07


def test_what_cannot_be_compared_is_none_or_an_error() -> None:
    assert paired_difference(np.array([1.0, np.nan]), np.array([1.0, 1.0]), 1) is None
    with pytest.raises(ValueError, match="3 and 2 days"):
        paired_difference(np.zeros(3), np.zeros(2), 1)
