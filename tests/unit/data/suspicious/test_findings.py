import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.data.suspicious.findings import SplitDay, SuspiciousPrices, find_suspicious

KINDS = ("reversals", "unadjusted_splits", "extreme_returns", "thin_days", "stale_runs",
         "untraded_changes")  # fmt: skip


@pytest.fixture(scope="module")
def spoilt(walks):
    """Walks with each kind of error once or more, and where they are."""
    market = walks(days=120, stocks=40)
    market.close_DN[20, 1] *= 0.4
    for stock in range(7):
        market.rescale(50, 10 + stock, 3.0)
    market.rescale(60, 20, 0.5)
    market.rescale(70, 21, 0.06)
    market.open_DN[70, 21] = market.close_DN[69, 21]
    market.close_DN[80, 5:] = np.nan
    market.close_DN[90:100, 30] = market.close_DN[90, 30]
    market.volume_DN[105, 35] = 0
    return market.rows()


@pytest.fixture(scope="module")
def found(spoilt):
    return find_suspicious(spoilt)[0]


def test_every_kind_is_counted(found):
    counts = {kind: getattr(found, kind).count for kind in KINDS}
    assert counts == {"reversals": 1, "unadjusted_splits": 8, "extreme_returns": 1,
                      "thin_days": 1, "stale_runs": 1, "untraded_changes": 1}  # fmt: skip


def test_shares_are_of_rows_days_and_rows_in_runs(found, spoilt):
    rows = len(spoilt.close_R)
    assert rows == 120 * 40 - 35
    assert found.unadjusted_splits.share == pytest.approx(8 / rows)
    assert found.thin_days.share == pytest.approx(1 / 120)
    assert found.stale_runs.share == pytest.approx(10 / rows)


def test_the_worst_five_are_kept_largest_first(found, spoilt):
    worst = found.unadjusted_splits.worst
    assert len(worst) == 5
    assert {(example.date, example.note) for example in worst} == {("2019-03-18", "3:1")}
    assert [example.size for example in worst] == sorted(example.size for example in worst)
    assert -0.72 < worst[0].size < -2 / 3
    undone = found.reversals.worst[0]
    row = spoilt.starts[1] + 20
    assert (undone.date, undone.code) == (str(spoilt.dates[20]), "S001")
    assert undone.size == pytest.approx(spoilt.close_R[row] / spoilt.close_R[row - 1] - 1, abs=1e-6)
    day = found.thin_days.worst[0]
    assert (day.date, day.code, day.size, day.note) == (
        str(spoilt.dates[80]), None, 0.875, "no rows")  # fmt: skip
    assert found.stale_runs.worst[0].size == 10


def test_splits_of_one_day_are_told_together(found):
    assert found.split_days == (
        SplitDay(date="2019-03-18", ratio="3:1", count=7),
        SplitDay(date="2019-04-01", ratio="1:2", count=1),
    )


def test_untrusted_returns_are_those_of_bad_prints_and_splits(spoilt):
    _, suspicious_R = find_suspicious(spoilt)
    cells = [(1, 20), (1, 21), *((10 + stock, 50) for stock in range(7)), (20, 60)]
    expected = [spoilt.starts[stock] + day for stock, day in cells]
    assert np.flatnonzero(suspicious_R).tolist() == expected


def test_findings_survive_json(found):
    assert SuspiciousPrices.model_validate_json(found.model_dump_json()) == found


PRICES = arrays(
    np.float64,
    st.tuples(st.integers(1, 40), st.integers(1, 4)),
    elements=st.floats(1e-9, 1e12) | st.sampled_from([1.0, 2.0, 5.0, np.nan]),
)


@settings(max_examples=150, deadline=None)
@given(PRICES, st.integers(0, 10_000))
def test_any_prices_give_findings_that_are_finite_and_bounded(walks, prices, seed):
    days, stocks = prices.shape
    market = walks(days=days, stocks=stocks, seed=seed)
    market.close_DN = np.where(np.isnan(prices).all(), 1.0, prices)
    market.volume_DN[market.volume_DN < 5e4] = 0
    market.volume_DN[market.volume_DN > 2e5] = np.nan
    for closes_only in (False, True):
        rows = market.rows(closes_only)
        found, suspicious_R = find_suspicious(rows)
        assert SuspiciousPrices.model_validate_json(found.model_dump_json()) == found
        assert len(suspicious_R) == len(rows.close_R)
        assert not suspicious_R[rows.starts[:-1][np.diff(rows.starts) > 0]].any()
        findings = [finding for kind in KINDS if (finding := getattr(found, kind)) is not None]
        assert all(0 <= finding.share <= 1 for finding in findings)
        assert all(len(finding.worst) == min(finding.count, 5) for finding in findings)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 100_000))
def test_clean_walks_with_fat_tails_give_nothing(walks, seed):
    rows = walks(250, 50, seed=seed, scale=0.01, tails=3).rows()
    found, suspicious_R = find_suspicious(rows)
    assert {kind: getattr(found, kind).count for kind in KINDS} == dict.fromkeys(KINDS, 0)
    assert not suspicious_R.any()
    assert found.split_days == ()
