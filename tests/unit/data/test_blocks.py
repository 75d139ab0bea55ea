import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atft_hpo.data.blocks import ColumnStatistics, Journal, Spill
from atft_hpo.data.table import open_table, read_rows

DAYS, FEATURES = 4, 3
VALUES = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0, 2.0])


@settings(max_examples=150, deadline=None)
@given(
    x=arrays(np.float32, st.tuples(st.integers(1, 14), st.just(FEATURES)), elements=VALUES),
    cut=st.integers(0, 14),
    data=st.data(),
)
def test_statistics_equal_numpys_over_all_rows(x, cut, data):
    day = np.array(data.draw(st.lists(st.integers(0, DAYS - 1), min_size=len(x), max_size=len(x))))
    day = day.astype(np.int32)
    statistics = ColumnStatistics.empty(DAYS, FEATURES)
    for rows in (slice(0, cut), slice(cut, None)):
        if len(x[rows]):
            statistics.add(day[rows], x[rows].T.copy())
    finite = np.where(np.isinf(x), np.nan, x)
    assert statistics.rows == len(x)
    assert statistics.present_F.tolist() == (~np.isnan(finite)).sum(axis=0).tolist()
    assert statistics.infinite_F.tolist() == np.isinf(x).sum(axis=0).tolist()
    for f in range(FEATURES):
        infinite = day[np.isinf(x[:, f])]
        assert statistics.infinite_since_F[f] == (infinite.min() if len(infinite) else DAYS)
        groups = [finite[day == d, f] for d in range(DAYS)]
        assert statistics.varies_F[f] == any(len(np.unique(g[~np.isnan(g)])) > 1 for g in groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's about columns without any value
        low, high = np.nanmin(finite, axis=0), np.nanmax(finite, axis=0)
    present = statistics.present_F > 0
    np.testing.assert_array_equal(statistics.low_F[present], low[present])
    np.testing.assert_array_equal(statistics.high_F[present], high[present])


def test_days_come_in_order_with_their_own_rows(market, tmp_path, monkeypatch):
    monkeypatch.setattr("atft_hpo.data.blocks._BLOCK_BYTES", 4 * 30 * 5 * 20)
    shuffled = market.sample(fraction=1.0, shuffle=True, seed=0)
    shuffled.write_parquet(tmp_path / "t.parquet", row_group_size=500)
    table = open_table(tmp_path / "t.parquet", (1,))
    rows = read_rows(table)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    spill = Spill(Journal.open(scratch / "journal.npz", "t"), rows, 5)
    spill.write(table)
    assert len(list(scratch.glob("rows-*"))) == len(spill.blocks) == 8
    ordered = market.sort("date", "code")
    expected = ordered["noise"].to_numpy().astype(np.float32)
    days, stocks, noise = [], [], []
    for block in spill.blocks:
        for day in spill.days(block):
            days.append(day.day)
            stocks += [rows.codes[n] for n in day.stocks]
            noise.append(day.values_Fn[table.features.index("noise")])
        spill.done(block)
    assert days == list(range(160))
    assert stocks == ordered["code"].to_list()
    np.testing.assert_array_equal(np.concatenate(noise), expected)
    assert not list(scratch.glob("rows-*"))
    assert not spill.blocks
