"""The table of running trials on a terminal of 80 columns."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from atft_hpo.service.display.live import running_table
from atft_hpo.service.studies.status import RunningTrial, StudyStatus


def test_no_number_is_cut_off_where_names_are_long() -> None:
    epoch: Any = SimpleNamespace(
        phase_name="adaptive_norm", epoch=10, epochs_done=100, epochs_total=119,
        metrics={"ic": -0.1234, "rank_ic": -0.1, "pure_rank_ic": -0.2, "sharpe": -20.0},
        samples_per_second=123456.0, eta_seconds=9999.0,
    )  # fmt: skip
    running = (
        RunningTrial(1234, 2, "h", 3000.0, epoch, 1.0),
        RunningTrial(7, 1, "h", 3.0, None, 0),
    )
    status = StudyStatus("x", 9, 0, {}, running, None, None, "", datetime.now(UTC), 1.0)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(running_table(status))
    printed = capture.get()
    assert "…" not in printed
    for word in ("-0.123", "-20.00", "123.5k", "2:46:38", "100/119", "(attempt 2)", "starting"):
        assert word in printed
