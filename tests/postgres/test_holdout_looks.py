"""Looks at the test range are counted in the study they belong to."""

from collections.abc import Callable
from typing import Any

import pytest

from atft_hpo.service.database.connection import Database
from atft_hpo.service.display.live import counts_line
from atft_hpo.service.studies.holdout_looks import note_test_read
from atft_hpo.service.studies.load import load_study
from atft_hpo.service.studies.status import as_json, read_status

pytestmark = pytest.mark.postgres
MakeStudy = Callable[..., Any]


def test_every_look_is_counted(database: Database, make_study: MakeStudy) -> None:
    make_study()
    assert read_status(database, "race").test_reads == 0
    assert "test range" not in counts_line(read_status(database, "race"))
    assert note_test_read(database, "race", "backtest", "a" * 64) == 1
    assert note_test_read(database, "race", "predict", "b" * 64) == 2
    status = read_status(database, "race")
    assert as_json(status)["test_reads"] == 2
    assert "test range read 2 ×" in counts_line(status)
    assert load_study(database, "race").test_reads == 2


def test_a_study_elsewhere_is_not_recorded(database: Database) -> None:
    assert note_test_read(database, "race", "backtest", "a" * 64) is None
