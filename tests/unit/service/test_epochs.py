import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atft_hpo.service.epochs import decode_daily, decode_epoch, encode_daily, encode_facts
from atft_hpo.training.report import DailySeries

SERIES = ("ic", "rank_ic", "return_gross", "return_net", "turnover", "pure_rank_ic")
FLOATS = st.floats(width=32)


@settings(max_examples=20, deadline=None)
@given(st.data(), st.integers(0, 40))
def test_daily_series_survive_bit_by_bit(data: st.DataObject, days: int) -> None:
    dates_D = np.datetime64("1999-12-30") + np.arange(days)
    series = {name: data.draw(hnp.arrays(np.float32, days, elements=FLOATS)) for name in SERIES}
    read = decode_daily(encode_daily(DailySeries(dates=dates_D, **series)))
    assert np.array_equal(read.dates, dates_D)
    assert read.dates.dtype == np.dtype("datetime64[D]")
    for name in SERIES:
        assert np.array_equal(getattr(read, name), series[name], equal_nan=True)
        assert getattr(read, name).dtype == np.float32


def test_a_series_stored_before_there_was_pure_rank_ic_is_read() -> None:
    dates_D = np.datetime64("2024-01-01") + np.arange(7)
    rows = {name: np.full(7, i, dtype=np.float32) for i, name in enumerate(SERIES)}
    stored = encode_daily(DailySeries(dates=dates_D, **rows))
    read = decode_daily(stored[: -4 * 7])
    assert np.isnan(read.pure_rank_ic).all()
    assert (read.turnover == 4.0).all()
    assert np.array_equal(read.dates, dates_D)


def test_facts_are_json_and_nan_comes_back(quick: Any) -> None:
    report = quick.fake_report(2, 5, 1.5, phase=1)
    facts = json.loads(json.dumps(encode_facts(report), allow_nan=False))
    row: Any = {"step": report.step, "attempt": 2, "facts": facts, "daily": None}
    del row["daily"]
    record = decode_epoch(row)
    assert (record.step, record.phase, record.epoch, record.attempt) == (1002, 1, 2, 2)
    assert record.daily is None
    assert math.isnan(record.metrics.pop("icir"))
    assert record.metrics == {"ic": 0.01, "rank_ic": 0.02, "sharpe": 1.5}
    for name in ("value", "smoothed", "seconds", "samples_per_second", "eta_seconds", "modules"):
        assert getattr(record, name) == getattr(report, name)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_reads_as_nan(quick: Any, value: float) -> None:
    facts = encode_facts(quick.fake_report(0, 1, value))
    row: Any = {"step": 0, "attempt": 1, "facts": facts}
    assert math.isnan(decode_epoch(row).value)
