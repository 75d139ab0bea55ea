"""Results such as the programs of the CPU set write, of a tiny size."""

from typing import Any

import pytest

from bench.cpu_set.parts import PARTS, Outcome

STEP = {
    "stocks": 200, "days": 120, "threads": 2, "samples_per_second": 3000.0,
    "window_samples_per_second": 100.0, "ratio_to_window_path": 30.0, "peak_rss_gib": 2.5,
    "selection_share_of_grouped_matmul": 1.9,
}  # fmt: skip
EPOCH = {"phase": "baseline", "share": 0.08}
STAGES = {"fork": 0.3, "assignment": 0.1, "panel": 0.0, "set-up": 0.4, "step": 0.1}


@pytest.fixture
def results() -> dict[str, Any]:
    """One result per part."""
    phase_aware = {"used": 0.6, "killed": 0.08, "regret": 0.04, "ended": 0.5}
    return {
        "step": {
            "stocks": {"200": STEP, "1000": {**STEP, "stocks": 1000, "ratio_to_window_path": 20.0}},
            "one_thread": {**STEP, "days": 20, "ratio_to_earlier_system": 68.0},
        },
        "validation": {
            "training_days": 1422, "validation_days": 448,
            "epochs": [EPOCH, {"phase": "gat", "share": 0.12}],
        },
        "epoch_end": {
            "days": 448, "stocks": 1959, "threads": 2,
            "seconds": {"metrics, first": 1.2, "metrics": 0.4, "last.pt": 0.4},
        },
        "search": {
            "trials": 2000, "epochs": 42, "milliseconds_per_trial_epoch": 25.0,
            "by_step": {"ask": 5.0, "epochs": 20.0},
        },
        "startup": {
            "study": "quickstart", "median_seconds": 0.9, "longest_seconds": 0.9,
            "later": [STAGES],
        },
        "pack": {
            "rows": 1000, "features": 395, "throughput_share_of_decoding": 0.25,
            "decode": {"seconds": 1.0}, "write": {"seconds": 0.5},
            "pack": {"seconds": 4.0, "peak_rss_gib": 0.9}, "open": {"seconds": 0.025},
        },
        "selection": {
            "arguments": {"features": 250, "hidden": 16, "threads": 1},
            "tokens_per_second": {"plain": 2000.0, "ours": 20000.0, "frozen": 60000.0},
        },
        "pruner": {"pruners": {"phase_aware keep 0.5 t 2.5": phase_aware}},
    }  # fmt: skip


@pytest.fixture
def outcomes(results: dict[str, Any]) -> dict[str, Outcome]:
    """All parts, run in ten seconds each."""
    return {name: Outcome(PARTS[name], 10.0, results[name], "", "") for name in PARTS}
