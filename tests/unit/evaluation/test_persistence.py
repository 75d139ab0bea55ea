"""Variances of cosine transforms under each process, against matrices and simulation."""

import numpy as np
import pytest
from scipy.linalg import toeplitz

from atft_hpo.evaluation.persistence import (
    AUTOREGRESSIONS,
    MOST_COSINES,
    cosine_transforms,
    plausible_persistence,
    tail,
)
from bench.mean_error.processes import overlapped

FIRST = AUTOREGRESSIONS.index(0.0)
"""Place of the process of independent innovations, among those of full overlap."""


@pytest.mark.parametrize("overlap", [1, 5, 20])
def test_of_independent_innovations_the_variances_are_those_of_the_matrix(overlap: int) -> None:
    days = 60
    lag = np.arange(days)
    covariance_DD = toeplitz(np.maximum(1.0 - lag / overlap, 0.0))
    root_D, cosines_DQ = cosine_transforms(np.eye(days))
    found = plausible_persistence(days, overlap)
    precision_Q, mean = found.precision_QP[:, FIRST], found.mean_P[FIRST]
    assert mean == pytest.approx(root_D @ covariance_DD @ root_D)
    expected_Q = np.einsum("dq,de,eq->q", cosines_DQ, covariance_DD, cosines_DQ)
    assert 1.0 / precision_Q == pytest.approx(expected_Q)


def test_an_autoregressions_variance_of_the_mean_is_the_textbooks() -> None:
    """σ² (1 + ρ) / (1 − ρ) of many days; each process has a variance of 1 a day."""
    mean_P = plausible_persistence(20_000, 1).mean_P  # variances are of one value
    assert mean_P.max() == pytest.approx(1.985 / 0.015, rel=0.02)
    assert mean_P.min() == pytest.approx(0.4 / 1.6, rel=0.02)


def test_the_likelihood_finds_the_process() -> None:
    """Persistent days get wider scales than independent ones, from the days alone."""
    found = plausible_persistence(448, 1)
    scales = []
    for ρ in (0.0, 0.6, 0.9):
        series_RD = overlapped(np.random.default_rng(0), 200, 448, 1, ρ)
        _, cosines_RQ = cosine_transforms(series_RD / series_RD.std())
        weight_RP, scale_RP = found.weights_and_scales(cosines_RQ)
        assert weight_RP.sum(axis=1) == pytest.approx(1.0)
        scales.append(np.median((weight_RP * scale_RP).sum(axis=1)))
    assert scales == pytest.approx([1.0, 2.0, np.sqrt(19)], rel=0.2)


def test_tails_are_students_and_the_slowest_transforms_are_taken() -> None:
    one = np.ones((1, 1))
    assert tail(np.array([[0.0, 12.706]]), one, one, 1) == pytest.approx(
        np.array([[0.5, 0.025]]), abs=1e-5
    )
    root_R, cosines_RQ = cosine_transforms(np.full((2, 300), 3.0))
    assert cosines_RQ.shape == (2, MOST_COSINES)
    assert root_R == pytest.approx(3.0 * np.sqrt(300))
    assert cosines_RQ == pytest.approx(0.0, abs=1e-10)
