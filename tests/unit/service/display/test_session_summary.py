"""What a session ends with, from the seeded study of the report's tests."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from atft_hpo.config import settings
from atft_hpo.paths import Volume
from atft_hpo.results.study_report.paired_trials import against
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.agent.agent import Farewell
from atft_hpo.service.display.session_summary import epoch_lines, leading_table, next_lines
from atft_hpo.service.queue.budget import StudyStop
from atft_hpo.service.queue.operator import STOPPED

RECORDS = Path(__file__).parents[2] / "results" / "conftest.py"


@pytest.fixture(scope="module")
def records() -> Any:
    """The seeded studies of the report's tests."""
    spec = importlib.util.spec_from_file_location("closing_records", RECORDS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(table: Any) -> list[list[str]]:
    """Words of each printed line."""
    console = Console(width=160, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()]


def test_leading_trials_stand_against_the_base_by_their_paired_t(records: Any) -> None:
    study = records.make_study(records.twenty_outcomes())
    _, _, head, *rows = lines(leading_table(study))
    assert head[:5] == ["trial", "sharpe", "to", "base", "IC"]
    assert len(rows) == 5
    done = sorted(
        (t for t in study.trials if t.outcome is Outcome.COMPLETE), key=lambda t: -t.value
    )
    for trial, row in zip(done, rows, strict=False):
        paired = against(trial, study.trials[0], study, "return_net")
        assert row[0] == str(trial.number)
        assert row[2] == (f"{paired.t:+.2f}" if paired else "–")


def test_a_metric_that_is_not_there_is_a_dash(records: Any) -> None:
    study = records.make_study([Outcome.COMPLETE], **{"objective.metric": "pure_rank_ic"})
    for epoch in study.trials[0].epochs:
        epoch.metrics.pop("pure_rank_ic")
    (row,) = lines(leading_table(study))[3:]
    assert row[2] == "–"
    assert row[6] == "–"


def test_what_pruning_and_sharing_spared_is_a_share_of_all_epochs(records: Any) -> None:
    study = records.make_study([Outcome.COMPLETE, Outcome.PRUNED])
    complete, pruned = study.trials
    total, run = 18 * 2, 18 + len(pruned.epochs)
    taken = [dataclasses.replace(e, shared=e.phase == 0) for e in complete.epochs]
    study = dataclasses.replace(
        study, trials=(dataclasses.replace(complete, epochs=tuple(taken)), pruned)
    )
    assert epoch_lines(study) == [
        f"epochs         {run - 3} trained of {total}: {(total - run) / total:.0%} saved by "
        f"pruning, {3 / total:.0%} by sharing"
    ]


def test_without_an_epoch_there_is_nothing_to_say(records: Any) -> None:
    assert epoch_lines(records.make_study([])) == []


DONE, INTERRUPTED = Farewell(False, None), Farewell(True, None)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """The default one of a directory, from where the program is called by its name."""
    monkeypatch.chdir(tmp_path)
    for name in (settings.VOLUME_VARIABLE, settings.STORAGE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("atft_hpo.config.shell.program", lambda: "atft-hpo")
    return Volume(tmp_path / "volume")


def test_every_number_of_the_leading_trials_is_there_at_80_columns(records: Any) -> None:
    study = records.make_study(records.twenty_outcomes())
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(leading_table(study))
    assert "…" not in capture.get()
    rows = capture.get().splitlines()[3:]
    assert {len(row.split()) for row in rows} == {10}
    assert len({row.rindex(".") for row in rows}) == 1, "numbers are aligned"


def test_next_after_a_study_that_is_done(records: Any, volume: Volume) -> None:
    study = dataclasses.replace(records.make_study([Outcome.COMPLETE]), target_trials=1)
    assert next_lines(study, DONE, volume, "cpu", 2) == [
        "next:",
        "    atft-hpo export quick --out best.toml",
        "    atft-hpo train best.toml --device cpu",
        "    atft-hpo resume quick --trials 11 --workers 2 --device cpu",
    ]


def test_next_after_an_interruption_is_to_go_on(records: Any, volume: Volume) -> None:
    study = records.make_study([Outcome.COMPLETE])
    assert next_lines(study, INTERRUPTED, volume)[-1] == "    atft-hpo resume quick"
    for reason in (
        STOPPED,
        f"{STOPPED}; atft-hpo resume quick continues it",
    ):  # of an older version
        by_person = Farewell(False, StudyStop(reason))
        assert next_lines(study, by_person, volume)[-1] == "    atft-hpo resume quick"


def test_next_is_nothing_that_would_stop_again(records: Any, volume: Volume) -> None:
    used_up = Farewell(False, StudyStop("budget.device_hours = 1 is used up"))
    study = records.make_study([Outcome.PRUNED])
    assert next_lines(study, used_up, volume) == [
        "next:",
        "    atft-hpo status quick",
        "    atft-hpo report quick",
    ]


def test_next_does_not_take_the_name_of_a_run_that_exists(records: Any, volume: Volume) -> None:
    volume.run("best").root.mkdir(parents=True)
    _, export, train, _ = next_lines(records.make_study([Outcome.COMPLETE]), DONE, volume)
    assert export.endswith("export quick --out quick-0.toml")
    assert train.endswith("train quick-0.toml")
    volume.run("quick-0").root.mkdir()
    assert next_lines(records.make_study([Outcome.COMPLETE]), DONE, volume)[2].endswith(
        "train quick-0-2.toml"
    )


def test_next_writes_where_that_is_allowed(
    records: Any, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    _, export, train, _ = next_lines(records.make_study([Outcome.COMPLETE]), DONE, volume)
    assert export.endswith(f"--out {volume.root}/best.toml")
    assert train.endswith(f"train {volume.root}/best.toml")


def test_next_says_what_it_does_not_print(
    records: Any, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(settings.STORAGE_VARIABLE, "postgresql://me:secret@host/db")
    head, *commands = next_lines(records.make_study([Outcome.COMPLETE]), DONE, volume)
    assert head == "next (with ATFT_HPO_STORAGE set as it is here; it holds a password):"
    assert not any("secret" in line for line in commands)
