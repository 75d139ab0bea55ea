"""Warm-up and cosine within a phase."""

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from atft_hpo.training.optim.schedule import phase_progress, rate_factor


def test_progress_ends_at_one_however_epochs_are_cut() -> None:
    assert phase_progress(0, 0, 4, 2) == pytest.approx(1 / 8)
    assert phase_progress(1, 3, 4, 2) == phase_progress(1, 6, 7, 2) == 1.0


def test_known_points() -> None:
    assert rate_factor(0.05, 0.1, 0.2) == pytest.approx(0.5)
    assert rate_factor(0.1, 0.1, 0.2) == pytest.approx(1.0)
    assert rate_factor(0.55, 0.1, 0.2) == pytest.approx(0.6)
    assert rate_factor(1.0, 0.1, 0.2) == pytest.approx(0.2)


@pytest.mark.parametrize(("warmup", "expected"), [(0.0, 0.5), (1.0, 0.5)])
def test_all_cosine_and_all_warm_up(warmup: float, expected: float) -> None:
    assert rate_factor(0.5, warmup, 0.0) == pytest.approx(expected)
    assert 0.0 <= rate_factor(1.0, warmup, 0.3) <= 1.0


@given(
    warmup=st.floats(0, 0.9),
    final=st.floats(0, 1),
    steps=st.lists(st.floats(0.001, 1), min_size=2, max_size=20),
)
@settings(max_examples=40, deadline=None)
def test_rises_then_falls_and_stays_between_zero_and_one(
    warmup: float, final: float, steps: list[float]
) -> None:
    rates = [(p, rate_factor(p, warmup, final)) for p in sorted(steps)]
    assert all(0.0 < rate <= 1.0 + 1e-12 or final == 0 for _, rate in rates)
    for (p, before), (q, after) in itertools.pairwise(rates):
        if q < warmup:
            assert after >= before
        elif p >= warmup:
            assert after <= before + 1e-12
