"""Epoch records and studies made by hand."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from atft_hpo.config.toml import parse_config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import EpochRecord, TrialRecord
from atft_hpo.training.phases.epoch_report import STEPS_PER_PHASE

SPACE = """
study.name = "tiny"
study.question = "Which?"

[search.space]
"model.dropout" = { type = "float", low = 0.0, high = 0.4 }
"optim.weight_decay" = { type = "float", low = 1e-4, high = 0.1, log = true }
"model.fan.k" = { type = "int", low = 1, high = 4 }
"phases.gat.weights.sharpe" = { type = "float", low = 0.0, high = 0.3, step = 0.1 }
"phases.fine_tuning.freeze" = { type = "categorical", choices = ["none", "selection", "encoder"] }
"phases.fine_tuning.reload_best" = { type = "categorical", choices = [true, false] }
"model.gat.heads" = { type = "categorical", choices = [[4, 2], [2, 1], [4]] }
"""


@pytest.fixture
def searched() -> Any:
    """A configuration whose space has every kind of domain."""
    return parse_config(SPACE)


def make_epoch(
    phase: int,
    epoch: int,
    net: Sequence[float] | np.ndarray,
    ic: Sequence[float] | np.ndarray | None = None,
    rank_ic: Sequence[float] | np.ndarray | None = None,
    pure_rank_ic: Sequence[float] | np.ndarray | None = None,
    first_day: str = "2020-01-01",
) -> EpochRecord:
    """An epoch with daily net returns, and ICs that equal them unless given."""
    returns = np.asarray(net, dtype=np.float32)
    ics = returns if ic is None else np.asarray(ic, dtype=np.float32)
    ranks = ics if rank_ic is None else np.asarray(rank_ic, dtype=np.float32)
    pures = ranks if pure_rank_ic is None else np.asarray(pure_rank_ic, dtype=np.float32)
    dates = np.datetime64(first_day) + np.arange(len(returns))
    return EpochRecord(
        step=phase * STEPS_PER_PHASE + epoch, phase=phase, phase_name=PHASE_NAMES[phase],
        epoch=epoch, attempt=1, value=0.0, smoothed=0.0, metrics={}, train={}, modules=(),
        seconds=1.0, samples_per_second=1.0, eta_seconds=0.0, epochs_done=1, epochs_total=44,
        daily=DailySeries(
            dates, ics, ranks, returns, returns, np.zeros_like(returns), pures, dates
        ),
    )  # fmt: skip


@pytest.fixture
def epoch() -> Callable[..., EpochRecord]:
    """The maker of epoch records."""
    return make_epoch


@pytest.fixture
def trial_record() -> TrialRecord:
    """A finished trial without epochs."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return TrialRecord(
        number=7, state="finished", outcome=Outcome.COMPLETE, message="", params={}, value=1.25,
        started_at=now, ended_at=now, device_seconds=60.0, attempts=(), epochs=(), directory="d",
    )  # fmt: skip
