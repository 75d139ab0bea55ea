"""Which calls of a command are looks at the test range."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from atft_hpo.cli.checkpoint_options import chosen_days, note_look
from atft_hpo.config.toml import build_config
from atft_hpo.errors import ConfigError

CONFIG = build_config(
    {
        "study": {"name": "race"},
        "data": {"horizons_days": [1]},
        "objective": {"horizon_days": 1},
        "split": {
            "dates": {
                "train_first": "2020-01-01", "train_last": "2020-03-01",
                "validation_first": "2020-03-05", "validation_last": "2020-03-31",
                "test_first": "2020-04-05", "test_last": "2020-04-30",
                "purge_days": 2, "embargo_days": 0,
            }
        },
    }
)  # fmt: skip
GROWN: Any = SimpleNamespace(dates=np.datetime64("2020-01-01") + np.arange(365))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Study and command of each look that is recorded."""
    found: list[tuple[str, str]] = []
    for name, stand_in in {
        "cli.common.open_storage": lambda settings: None,
        "training.state.open_model.checkpoint_config": lambda checkpoint: CONFIG,
        "training.state.checkpoint.checkpoint_sha256": lambda checkpoint: "a" * 64,
        "service.studies.holdout_looks.note_test_read": (
            lambda database, study, command, sha256: found.append((study, command))
        ),
    }.items():
        monkeypatch.setattr(f"atft_hpo.{name}", stand_in)
    return found


@pytest.mark.parametrize(
    ("days", "is_look"),
    [
        ("test", True),
        ("validation", False),
        ("live", False),
        ("2020-05-01:2020-12-31", False),
        ("2020-04-30:2020-12-31", True),
        ("2020-03-01:2020-04-04", False),
        ("2020-03-01:2020-04-05", True),
    ],
)
def test_only_days_of_the_old_test_range_are_recorded(
    looks: list[tuple[str, str]], days: str, is_look: bool
) -> None:
    """On a panel that has grown by eight months, whatever is permitted."""
    settings: Any = None
    note_look(True, Path("x.pt"), GROWN, chosen_days(days), "predict", settings)
    assert looks == [("race", "predict")] * is_look
    note_look(False, Path("x.pt"), GROWN, chosen_days(days), "predict", settings)
    assert len(looks) == is_look, "what is not permitted is refused later, and nothing is read"


def test_days_as_they_are_given() -> None:
    assert [chosen_days(name) for name in ("validation", "test", "live")] == [
        "validation", "test", "live",
    ]  # fmt: skip
    assert chosen_days("2020-01-02:2020-02-03") == (date(2020, 1, 2), date(2020, 2, 3))
    with pytest.raises(ConfigError, match="expected validation, test, live, or FROM:TO"):
        chosen_days("train")
