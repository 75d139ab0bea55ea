"""Paired tables say what `paired_difference` says about the epochs that trials kept."""

import dataclasses
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import numpy as np
import pytest

from atft_hpo.config.toml import with_values
from atft_hpo.evaluation.paired import paired_difference
from atft_hpo.results.study_report.facts import best_epoch
from atft_hpo.results.study_report.paired_trials import against, base_trial, daily_of, paired
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord, TrialRecord

Study = Callable[..., StudyRecord]


def under(study: StudyRecord, **values: Any) -> StudyRecord:
    """The study with another configuration."""
    keys = {key.replace("__", "."): value for key, value in values.items()}
    return dataclasses.replace(study, config=with_values(study.config, keys))


def rows_of(study: StudyRecord) -> list[list[list[str]]]:
    """Cells of the body rows of each table."""
    html = "".join(paired(study))
    tables = re.findall(r"<tbody>(.*?)</tbody>", html, flags=re.DOTALL)
    rows = [re.findall(r"<tr.*?</tr>", t, flags=re.DOTALL) for t in tables]
    return [[[unescape(c) for c in re.findall(r"<td[^>]*>(.*?)</td>", r)] for r in t] for t in rows]


def complete(study: StudyRecord) -> list[TrialRecord]:
    return [t for t in study.trials if t.outcome is Outcome.COMPLETE]


def test_rows_are_the_complete_trials_against_base_and_best(study: StudyRecord) -> None:
    net, pure = rows_of(study)
    done = complete(study)
    assert [row[0] for row in net] == [row[0] for row in pure] == [str(t.number) for t in done]
    best, base = study.best(), study.trials[0]
    for trial, row in zip(done, net, strict=True):
        for other, cells in ((base, row[2:5]), (best, row[5:8])):
            if trial is other:
                assert cells == ["–", "–", "–"]
                continue
            ours, theirs = best_epoch(trial, study.config), best_epoch(other, study.config)
            found = paired_difference(ours.daily.return_net, theirs.daily.return_net, 1)
            error = found.standard_error * 1e4
            assert cells[0] == f"{found.mean * 1e4:+.2f} ± {error:.2f}"
            assert cells[1] == f"{found.t:+.2f}"
            assert cells[2] == f"{found.low * 1e4:+.2f} … {found.high * 1e4:+.2f}"


@pytest.mark.parametrize(("metric", "tables"), [("rank_ic", 2), ("pure_rank_ic", 1)])
def test_the_objectives_series_comes_first(study: StudyRecord, metric: str, tables: int) -> None:
    found = under(study, objective__metric=metric)
    rows = rows_of(found)
    assert len(rows) == tables
    means = [np.nanmean(getattr(daily_of(t, found), metric)) for t in complete(found)]
    assert [row[1] for row in rows[0]] == [f"{mean:.4f}" for mean in means]


def test_pruned_and_other_days_are_not_compared(study: StudyRecord) -> None:
    pruned = next(t for t in study.trials if t.outcome is Outcome.PRUNED)
    one, other = complete(study)[:2]
    assert daily_of(pruned, study) is None
    assert against(one, pruned, study, "ic") is None
    assert against(one, None, study, "ic") is None
    assert against(one, other, study, "ic") is not None
    shifted = [
        dataclasses.replace(e, daily=dataclasses.replace(e.daily, dates=e.daily.dates + 1))
        for e in other.epochs
    ]
    moved = dataclasses.replace(other, epochs=tuple(shifted))
    assert against(one, moved, study, "ic") is None


def test_without_a_base_configuration_there_is_no_base(study: StudyRecord) -> None:
    assert base_trial(study) is study.trials[0]
    drawn = under(study, search__enqueue_baseline=False)
    assert base_trial(drawn) is None
    assert {row[2] for row in rows_of(drawn)[0]} == {"–"}


def test_one_trial_has_nobody_to_be_compared_with(study_of: Study) -> None:
    assert list(paired(study_of([Outcome.COMPLETE, Outcome.PRUNED]))) == []
