"""Paired differences: days in common, and the mean error of what is left."""

import numpy as np
import pytest

from atft_hpo.evaluation.mean_error import mean_error
from atft_hpo.evaluation.paired import paired_difference


def test_days_that_one_has_not_are_left_out() -> None:
    a = np.array([0.1, np.nan, 0.3, 0.5, 0.2], dtype=np.float32)
    b = np.array([0.0, 0.2, 0.1, np.nan, 0.3], dtype=np.float32)
    found = paired_difference(a, b, 1)
    expected = mean_error(np.array([0.1, 0.2, -0.1]), 1)
    assert found is not None
    assert expected is not None
    assert found.days == 3
    for name in ("mean", "standard_error", "t", "low", "high"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-5)


def test_a_difference_and_its_negation_mirror_each_other() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 100))
    there, back = paired_difference(a, b, 5), paired_difference(b, a, 5)
    assert there is not None
    assert back is not None
    assert (there.mean, there.t) == (pytest.approx(-back.mean), pytest.approx(-back.t))
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))


def test_what_cannot_be_compared_is_none_or_an_error() -> None:
    assert paired_difference(np.array([1.0, np.nan]), np.array([1.0, 1.0]), 1) is None
    with pytest.raises(ValueError, match="3 and 2 days"):
        paired_difference(np.zeros(3), np.zeros(2), 1)
