import json
import math
from typing import Any

import pytest

from atft_hpo.service.database.epoch_rows import decode_epoch, encode_facts


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
