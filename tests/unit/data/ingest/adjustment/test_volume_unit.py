"""Which shares a table counts."""

import numpy as np
import pytest

from atft_hpo.data.ingest.adjustment.volume_unit import volume_jump

ROWS = 120


def market(splits: int, ratio: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Volume in shares of the day, ratios, starts: stocks of 120 rows, of which some split."""
    rng = np.random.default_rng(seed)
    volume = np.exp(rng.normal(11, 0.6, (splits + 3, ROWS)))
    ratio_NT = np.ones(volume.shape)
    ratio_NT[np.arange(splits), 40 + np.arange(splits) % 40] = ratio
    traded = volume * np.cumprod(ratio_NT, axis=1)
    return traded.ravel(), ratio_NT.ravel(), np.arange(0, traded.size + 1, ROWS)


@pytest.mark.parametrize(("splits", "ratio"), [(12, 5.0), (40, 2.0), (12, 0.1), (100, 1.5)])
def test_the_unit_is_told_from_enough_splits(splits: int, ratio: float) -> None:
    traded, ratio_R, starts = market(splits, ratio)
    found = volume_jump(traded, ratio_R, starts)
    assert (found.unit, found.splits) == ("day", splits)
    assert found.jump == pytest.approx(1, abs=0.2)
    later = np.exp(np.cumsum(np.log(ratio_R).reshape(-1, ROWS), axis=1)).ravel()
    adjusted = volume_jump(traded / later, ratio_R, starts)
    assert adjusted.unit == "last"
    assert adjusted.jump == pytest.approx(0, abs=0.2)


def test_too_few_small_splits_tell_nothing() -> None:
    for seed in range(5):
        assert volume_jump(*market(1, 1.5, seed)).unit is None


def test_a_split_needs_traded_rows_on_both_sides() -> None:
    traded, ratio_R, starts = market(12, 5.0)
    traded.reshape(-1, ROWS)[:, :36] = 0
    traded.reshape(-1, ROWS)[1, 30:41] = np.nan
    found = volume_jump(traded, ratio_R, starts)
    assert found.splits == 10  # four, and one, rows are left before the first two
    assert volume_jump(traded, np.ones(traded.size), starts).unit is None
