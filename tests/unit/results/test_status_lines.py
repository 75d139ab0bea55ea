import math
from types import SimpleNamespace
from typing import Any

import pytest

from atft_hpo.results.status_lines import count, duration, ended_line, epoch_line, signed


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3661, "1:01:01"), (None, "–"), (math.nan, "–")],
)
def test_duration(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_numbers() -> None:
    assert [signed(0.12345), signed(-1.5, 2), signed(None), signed(math.inf)] == [
        "+0.123",
        "-1.50",
        "–",
        "–",
    ]
    assert [count(950.4), count(12_345), count(math.nan)] == ["950", "12.3k", "–"]


def test_epoch(quick: Any) -> None:
    line = epoch_line("trial 3", quick.fake_report(1, 4, 1.5))
    assert line == (
        "trial 3 · baseline 2 · epoch 2/4 · IC +0.010 · RankIC +0.020 · pure – · Sharpe +1.50 · "
        "10.0k samples/s · ETA 0:01"
    )


def test_ended() -> None:
    row: Any = {"slot": 4, "number": 3, "outcome": "COMPLETE", "value": 1.23456, "message": ""}
    row["device_seconds"] = 61.0
    assert ended_line(row) == "trial 3 COMPLETE 1.235 after 1:01"
    row |= {"number": None, "outcome": "ERROR", "value": None, "message": "why"}
    assert ended_line(row) == "slot 4 ERROR after 1:01: why"


def test_epoch_protocol_is_met_by_records() -> None:
    fields = {"phase_name": "gat", "epoch": 0, "epochs_done": 1, "epochs_total": 2}
    rest = {"metrics": {}, "samples_per_second": 1.0, "eta_seconds": math.nan, "shared": False}
    epoch: Any = SimpleNamespace(**fields, **rest)
    line = epoch_line("x", epoch)
    assert line.endswith("IC – · RankIC – · pure – · Sharpe – · 1 samples/s · ETA –")
    epoch.shared = True
    assert "taken over" in epoch_line("x", epoch)
    assert "samples/s" not in epoch_line("x", epoch)
