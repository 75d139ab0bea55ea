"""The report says what the records say, in every state a study can be in."""

import dataclasses
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from atft_hpo.config.data_schema import SplitConfig
from atft_hpo.results.study_report.report import write_report
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord

Study = Callable[..., StudyRecord]


def words(study: StudyRecord, folder: Path) -> str:
    """The report's text without scripts, styles and tags."""
    page = write_report(study, folder / "report.html").read_text(encoding="utf-8")
    bare = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", bare)).split())


def test_a_full_study(study: StudyRecord, tmp_path: Path) -> None:
    text = words(study, tmp_path)
    best = study.best()
    assert best is not None
    assert best.value is not None
    assert "Does a graph pay for its cost?" in text
    assert (
        f"Trial {best.number} leads with a validation Sharpe (annual, net) of {best.value:.3f} ±"
        in text
    )
    assert "11 complete 4 pruned" in text
    assert "4 trials did not finish" in text
    assert Outcome.OUT_OF_MEMORY.value in text
    assert "The best of 15 trials (pruned ones included)" in text
    assert best.directory in text
    for trial in study.trials:
        assert f"{trial.value:.4f}" in text if trial.value is not None else True
    assert "phases.gat.weights.sharpe 0." in text


def test_trials_are_compared_day_by_day(study: StudyRecord, tmp_path: Path) -> None:
    text = words(study, tmp_path)
    assert "Trials compared day by day" in text
    assert "Net return, basis points a day, 120 validation days" in text
    assert "Pure RankIC, 120 validation days" in text


def test_an_empty_study_explains_itself(study_of: Study, tmp_path: Path) -> None:
    text = words(study_of([]), tmp_path)
    assert "No trial has begun yet; the study asks for 20 trials." in text
    assert "Set-up" in text
    assert "All trials" not in text


def test_the_set_up_says_which_days_are_which(study: StudyRecord, tmp_path: Path) -> None:
    assert "Test range" not in words(study, tmp_path), "no study in a database is without dates"
    dates = {
        "train_first": "2015-01-05", "train_last": "2018-01-05", "validation_first": "2018-02-05",
        "validation_last": "2019-02-05", "test_first": "2019-03-05", "test_last": "2020-03-05",
        "purge_days": 99, "embargo_days": 5,
    }  # fmt: skip
    split = SplitConfig.model_validate({"dates": dates})
    config = study.config.model_copy(update={"split": split})
    text = words(dataclasses.replace(study, config=config), tmp_path)
    assert "Trained on 2015-01-05 to 2018-01-05" in text
    assert "Chosen by 2018-02-05 to 2019-02-05" in text
    assert "Test range 2019-03-05 to 2020-03-05; what follows is live" in text


def test_a_running_study(study_of: Study, tmp_path: Path) -> None:
    text = words(study_of([None, None]), tmp_path)
    assert "No trial is complete yet; 2 of 2 are running." in text
    assert "There is no best trial yet." in text
    assert "2 trials begun, 0 pruned" in text


def test_a_study_whose_trials_all_failed(study_of: Study, tmp_path: Path) -> None:
    failed = dataclasses.replace(
        study_of([Outcome.ERROR] * 3), stop_reason="3 trials failed: <b>column</b> 'close' & more"
    )
    text = words(failed, tmp_path)
    assert "No trial came to a value: 3 of 3 trials failed." in text
    assert "The study has stopped: 3 trials failed: <b>column</b> 'close' & more" in text
    assert "0, 1 and 2" in text


def test_waiting_trials_are_listed(study_of: Study, tmp_path: Path) -> None:
    study = study_of([Outcome.COMPLETE, None])
    nobody = {"state": "waiting", "epochs": (), "params": {}, "device_seconds": 0.0}
    waiting = dataclasses.replace(study.trials[1], **nobody)
    text = words(dataclasses.replace(study, trials=(study.trials[0], waiting)), tmp_path)
    assert "1 complete 1 waiting" in text
    assert "1 waiting – – – –" in text, "its row of the table"


def test_one_choice_has_nothing_to_deflate_but_epochs_are_choices(
    study_of: Study, study_config: Any, tmp_path: Path
) -> None:
    study = study_of([Outcome.COMPLETE])
    one = study_config(**{"objective.smoothing_epochs": 9})
    text = words(dataclasses.replace(study, config=one), tmp_path)
    assert "With a single trial and epoch there is no maximum to deflate." in text
    assert "needs daily values and something to choose from" in text
    text = words(study, tmp_path)
    assert "The best of 1 trial (pruned ones included), each at its best epochs" in text


def test_luck_is_told_in_the_objectives_own_words(
    study: StudyRecord, study_config: Any, tmp_path: Path
) -> None:
    text = words(study, tmp_path)
    assert "Deflated Sharpe ratio" in text
    assert "Luck does as well" in text
    keys = {"objective.metric": "rank_ic", "objective.horizon_days": 5}
    text = words(dataclasses.replace(study, config=study_config(**keys)), tmp_path)
    assert "Deflated Sharpe" not in text, "Sharpe was not maximised"
    assert "expected to show a RankIC, 5 days of 0.0" in text
    assert "not the probability that the trial has no skill" in text


def test_a_best_trial_without_daily_series(study_of: Study, tmp_path: Path) -> None:
    study = study_of([Outcome.COMPLETE] * 2)
    bare = tuple(
        dataclasses.replace(t, epochs=tuple(dataclasses.replace(e, daily=None) for e in t.epochs))
        for t in study.trials
    )
    text = words(dataclasses.replace(study, trials=bare), tmp_path)
    assert "Its days cannot be drawn." in text
    assert "standard error not known" in text


def test_text_from_the_study_cannot_become_markup(study_of: Study, tmp_path: Path) -> None:
    attack = "<img src=x onerror=alert(1)>"
    study = study_of([Outcome.COMPLETE, Outcome.ERROR], **{"study.question": attack})
    trials = tuple(dataclasses.replace(t, message=attack, directory=attack) for t in study.trials)
    hostile = dataclasses.replace(study, trials=trials, stop_reason=attack, panel=attack)
    page = write_report(hostile, tmp_path / "report.html").read_text(encoding="utf-8")
    assert attack not in page
    assert page.count("&lt;img src=x") >= 5


@pytest.mark.parametrize("metric", ["rank_ic", "ic", "weighted"])
def test_other_objectives(study_of: Study, tmp_path: Path, metric: str) -> None:
    study = study_of([Outcome.COMPLETE] * 2, **{"objective.metric": metric})
    text = words(study, tmp_path)
    assert "leads with a validation" in text


def test_a_study_without_a_question_or_space(study_of: Study, tmp_path: Path) -> None:
    study = study_of([Outcome.COMPLETE], **{"study.question": "", "search.space": {}})
    bare = tuple(dataclasses.replace(t, params={}) for t in study.trials)
    text = words(dataclasses.replace(study, trials=bare), tmp_path)
    assert "What did the study quick find?" in text
    assert "It searched no parameters" in text


def test_looks_at_the_test_range_are_told(study: StudyRecord, tmp_path: Path) -> None:
    looked = dataclasses.replace(study, test_reads=2)
    page = write_report(looked, tmp_path / "looked.html").read_text(encoding="utf-8")
    assert "has been read 2 times" in page
    page = write_report(study, tmp_path / "unseen.html").read_text(encoding="utf-8")
    assert "has been read" not in page
