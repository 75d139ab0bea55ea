import errno

import pytest
import torch

from atft_hpo.errors import (
    CheckpointError,
    ConfigError,
    HealthGateError,
    NonFiniteError,
    VolumeError,
)
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.trial.error_outcome import is_volume_failure, outcome_of


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (NonFiniteError("loss is nan"), Outcome.NON_FINITE, "loss is nan"),
        (HealthGateError("dead\nhead"), Outcome.UNHEALTHY, "dead head"),
        (MemoryError(), Outcome.OUT_OF_MEMORY, "MemoryError"),
        (torch.OutOfMemoryError("CUDA out of memory"), Outcome.OUT_OF_MEMORY, "CUDA out of memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"),
            Outcome.OUT_OF_MEMORY,
            "DefaultCPUAllocator: can't allocate memory: 9 bytes",
        ),
        (RuntimeError("shapes differ"), Outcome.ERROR, "RuntimeError: shapes differ"),
        (ConfigError("values exclude"), Outcome.ERROR, "values exclude"),
        (CheckpointError("altered"), Outcome.ERROR, "altered"),
        (KeyError("x"), Outcome.ERROR, "KeyError: 'x'"),
    ],
)
def test_outcome_and_one_line(error: Exception, outcome: Outcome, message: str) -> None:
    assert outcome_of(error) == (outcome, message)


def test_message_is_not_endless() -> None:
    assert len(outcome_of(ValueError("x" * 10_000))[1]) < 600


def test_a_full_volume_is_no_trial_s_fault() -> None:
    assert is_volume_failure(VolumeError("full"))
    assert is_volume_failure(OSError(errno.ENOSPC, "No space left on device"))
    assert not is_volume_failure(OSError(errno.ENOENT, "No such file"))
    assert not is_volume_failure(ValueError("x"))
