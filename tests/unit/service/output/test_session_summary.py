"""What a session ends with, from the seeded study of the report's tests."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from atft_hpo.results.study_report.paired_trials import against
from atft_hpo.search.outcome import Outcome
from atft_hpo.service.output.session_summary import epoch_lines, leading_table

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
    _, head, *rows = lines(leading_table(study))
    assert head[:5] == ["trial", "sharpe", "t,", "base", "IC"]
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
    (row,) = lines(leading_table(study))[2:]
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
