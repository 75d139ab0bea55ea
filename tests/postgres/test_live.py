import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from atft_hpo.search.outcome import Outcome
from atft_hpo.service.database.connection import Database
from atft_hpo.service.database.fencing import TrialStop
from atft_hpo.service.display.live import LiveView, PlainView, open_view
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.optuna_bridge.tell import tell_finished
from atft_hpo.service.queue.leases import Claim, conclude

pytestmark = pytest.mark.postgres
MakeStudy = Callable[..., Any]
Record = Callable[..., TrialStop | None]
Begin = Callable[[], Claim]


@pytest.fixture
def begin(database: Database, make_study: MakeStudy, take: Callable[..., Claim]) -> Begin:
    asker = Asker(database, make_study(budget={"trials": 3}))

    def begin_one() -> Claim:
        found = take()
        asker.ask(found)
        return found

    return begin_one


def test_plain_view_prints_every_epoch_once(
    database: Database, begin: Begin, quick: Any, record: Record
) -> None:
    lease = begin().lease
    record(lease, 0, 1, quick.fake_report(0, 3, 1.0))
    out = io.StringIO()
    view = PlainView(database, "race", Console(file=out, width=20), period_seconds=0.0)
    for epoch in (1, 2):
        record(lease, 0, 1, quick.fake_report(epoch, 3, 1.0))
        view.refresh()
        view.refresh()
    conclude(database, lease, Outcome.COMPLETE, "", 1.5)
    (row,) = tell_finished(database, "race")
    view.ended(row)
    lines = out.getvalue().splitlines()
    assert [line.split(" · ")[2] for line in lines[:2]] == ["epoch 2/3", "epoch 3/3"]
    assert lines[2].startswith("trial 0 COMPLETE 1.5 after 0:0")
    assert len(lines) == 3, "epochs before the view was opened are history; no line is wrapped"


def test_live_view_has_a_line_per_running_trial(
    database: Database, begin: Begin, quick: Any, record: Record
) -> None:
    record(begin().lease, 0, 1, quick.fake_report(1, 3, 1.25, phase=1))
    begin()
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        view = LiveView(database, "race", live)
        view.refresh()
        view.say("a line [that] stays")
    text = out.getvalue()
    assert "adaptive_norm 2   2/3 +0.010 +0.020    –  +1.25     10.0k" in text
    assert "\n1     starting         0:0" in text
    assert "race: 0 of 3 done · 2 running" in text
    assert "a line [that] stays" in text


def test_view_fits_the_console(database: Database, begin: Begin) -> None:
    with open_view(database, "race", Console(file=io.StringIO())) as plain:
        assert isinstance(plain, PlainView)
    terminal = Console(file=io.StringIO(), force_terminal=True)
    with open_view(database, "race", terminal) as live:
        assert isinstance(live, LiveView)
