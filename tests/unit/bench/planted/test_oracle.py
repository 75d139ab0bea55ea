"""The share of the oracle: exact on exact cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.errors import DataError
from bench.planted.oracle import oracle_share

DAYS, STOCKS = 30, 24
ALIVE = np.ones((DAYS, STOCKS), dtype=bool)


def orthogonal_parts(weights: tuple[float, ...], seed: int = 0) -> np.ndarray:
    """Parts that are demeaned and orthogonal on every day, with these shares of variance."""
    rng = np.random.default_rng(seed)
    out = np.empty((DAYS, STOCKS, len(weights)))
    for day in range(DAYS):
        columns = np.column_stack([np.ones(STOCKS), rng.normal(size=(STOCKS, len(weights)))])
        out[day] = np.linalg.qr(columns)[0][:, 1:] * np.sqrt(weights)
    return out


PARTS = orthogonal_parts((0.5, 0.3, 0.2))


def test_the_oracle_itself_is_the_whole() -> None:
    share = oracle_share(PARTS.sum(axis=2), PARTS, ALIVE)
    assert share.total == pytest.approx(1.0)
    assert share.weights == pytest.approx((0.5, 0.3, 0.2))
    assert share.betas == pytest.approx((1.0, 1.0, 1.0))


@pytest.mark.parametrize("part", range(3))
def test_one_part_alone_attains_the_root_of_its_weight(part: int) -> None:
    share = oracle_share(PARTS[..., part], PARTS, ALIVE)
    assert share.total**2 == pytest.approx((0.5, 0.3, 0.2)[part])
    assert share.betas == pytest.approx(np.eye(3)[part])


def test_noise_shrinks_all_parts_alike() -> None:
    o = PARTS.sum(axis=2)
    noise = orthogonal_parts((1.0,) * 4)[..., 3]
    noise -= o * (noise * o).sum() / (o * o).sum()
    noise *= np.sqrt((o * o).sum() / (noise * noise).sum())
    share = oracle_share(o + noise, PARTS, ALIVE)
    assert share.total == pytest.approx(np.sqrt(0.5))
    assert share.total**2 == pytest.approx(np.dot(share.weights, share.betas))


def test_the_negation_has_negative_shares() -> None:
    share = oracle_share(-PARTS.sum(axis=2), PARTS, ALIVE)
    assert share.total == pytest.approx(-1.0)
    assert share.betas == pytest.approx((-1.0, -1.0, -1.0))


def test_a_constant_score_has_learned_nothing() -> None:
    share = oracle_share(np.full(ALIVE.shape, 3.0), PARTS, ALIVE)
    assert share.total == 0
    assert share.betas == (0, 0, 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3), level=st.floats(-5, 5))
def test_total_is_the_correlation_whatever_scale_and_daily_level(
    seed: int, scale: float, level: float
) -> None:
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(6, 8, 3)) @ rng.normal(size=(3, 3))
    o = parts.sum(axis=2)
    score = o + rng.normal(size=o.shape)
    demeaned = [(x - x.mean(axis=1, keepdims=True)).ravel() for x in (score, o)]
    alive = np.ones(o.shape, dtype=bool)
    moved = scale * score + level * np.arange(6)[:, None]
    share = oracle_share(moved, parts, alive)
    assert share.total == pytest.approx(np.corrcoef(*demeaned)[0, 1], abs=1e-6)
    assert sum(share.weights) == pytest.approx(1.0)


def test_dead_and_missing_cells_do_not_count() -> None:
    rng = np.random.default_rng(0)
    alive = rng.random(ALIVE.shape) < 0.8
    alive[3] = False
    alive[3, 0] = True  # a day with one stock says nothing
    o = PARTS.sum(axis=2)
    spoilt, parts = np.where(alive, o, 1e6), np.where(alive[..., None], PARTS, np.nan)
    spoilt[5, :4] = np.nan
    assert oracle_share(spoilt, parts, alive).total == pytest.approx(1.0)


def test_what_cannot_be_compared_is_an_error() -> None:
    o = PARTS.sum(axis=2)
    with pytest.raises(DataError, match="expected"):
        oracle_share(o[1:], PARTS, ALIVE)
    with pytest.raises(DataError, match="nothing to compare"):
        oracle_share(o, PARTS, np.zeros_like(ALIVE))
    with pytest.raises(DataError, match="independently"):
        oracle_share(o, np.stack([o, o], axis=2), ALIVE)
