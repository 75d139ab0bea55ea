"""Luck of the best trial: known numbers of choices; costs and early ends inflate nothing."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from atft_hpo.evaluation.luck import expected_maximum
from atft_hpo.evaluation.mean_error import mean_error
from atft_hpo.results.study_report.best_by_luck import best_by_luck, effective_choices
from atft_hpo.results.study_report.facts import best_epoch, study_facts
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord, TrialRecord

Study = Callable[..., StudyRecord]


def under(study: StudyRecord, config: Any, **values: Any) -> StudyRecord:
    keys = {name.replace("__", "."): value for name, value in values.items()}
    return dataclasses.replace(study, config=config(**keys))


def with_days(trial: TrialRecord, days_ED: Sequence[Any], name: str) -> TrialRecord:
    """The trial with other daily values in each of its last epochs."""
    epochs = list(trial.epochs)
    for place, days_D in zip(range(-len(days_ED), 0), days_ED, strict=True):
        daily = dataclasses.replace(epochs[place].daily, **{name: np.asarray(days_D, np.float32)})
        epochs[place] = dataclasses.replace(epochs[place], daily=daily)
    return dataclasses.replace(trial, epochs=tuple(epochs))


def test_a_sharpe_is_compared_with_the_best_of_the_effective_choices(study: StudyRecord) -> None:
    found, kept = best_by_luck(study), study_facts(study).best_epoch
    assert found is not None
    assert kept is not None
    assert found.best == pytest.approx(kept.metrics["sharpe"], rel=1e-5)
    assert found.trials == 15, "pruned ones included, failed ones not"
    assert 1.0 < found.choices < 15 * 2
    net = kept.daily.return_net[np.isfinite(kept.daily.return_net)].astype(float)
    one = mean_error(net, 1)
    assert one is not None
    error = one.standard_error * math.sqrt(252) / net.std(ddof=1)
    assert found.luck == pytest.approx(expected_maximum(found.choices, error**2))
    assert found.probability == pytest.approx(1.0 - norm.cdf(one.t) ** found.choices)
    assert found.deflated is not None
    assert found.overfitting is not None


def test_a_correlation_has_its_own_luck_and_no_deflated_sharpe(
    study: StudyRecord, study_config: Any
) -> None:
    found = best_by_luck(under(study, study_config, objective__metric="rank_ic"))
    assert found is not None
    assert found.deflated is None
    assert (found.metric, found.trials) == ("rank_ic", 15)
    kept = best_epoch(study.best(), study.config)  # type: ignore[arg-type]
    assert kept is not None
    assert found.best == pytest.approx(float(np.nanmean(kept.daily.rank_ic)), rel=1e-4)
    assert found.luck is not None
    assert 0.0 < found.luck < 0.05, "in units of the correlation"
    assert best_by_luck(under(study, study_config, objective__metric="weighted")) is None


@pytest.mark.parametrize(
    ("alike", "expected"), [("epochs", 6.0), ("trials", 2.0), ("nothing", 12.0), ("all", 1.0)]
)
def test_choices_are_trials_times_epochs_as_far_as_they_differ(
    study_of: Study, study_config: Any, alike: str, expected: float
) -> None:
    """Six trials with two candidate windows each (four epochs, smoothed over three)."""
    study = under(study_of([Outcome.COMPLETE] * 6), study_config, objective__metric="ic")
    rng = np.random.default_rng(1)
    days = len(study.trials[0].epochs[-1].daily.dates)
    draws_TWD = rng.normal(size=(6, 2, days))
    if alike in ("epochs", "all"):
        draws_TWD[:, 1] = draws_TWD[:, 0]
    if alike in ("trials", "all"):
        draws_TWD[:] = draws_TWD[0]
    trials = [
        with_days(t, [3 * a, 0 * a, 0 * a, 3 * b], "ic")
        for t, (a, b) in zip(study.trials, draws_TWD, strict=True)
    ]
    found = effective_choices(dataclasses.replace(study, trials=tuple(trials)), 6)
    assert found == pytest.approx(expected, rel=0.12)


def test_differences_in_cost_and_trials_ended_early_do_not_raise_the_bar(
    study: StudyRecord,
) -> None:
    """A trial that pays more is worse by its cost, which says nothing of the best one's luck."""
    done = [i for i, t in enumerate(study.trials) if t.outcome is Outcome.COMPLETE]
    best = study.trials.index(study.best())  # type: ignore[arg-type]
    before = best_by_luck(study)
    trials = list(study.trials)
    for place in (i for i in done if i != best):
        nets = [e.daily.return_net - 0.002 * place for e in trials[place].epochs]
        trials[place] = with_days(trials[place], nets, "return_net")
    for place, trial in enumerate(trials):
        if trial.outcome is Outcome.PRUNED:
            nets = [50.0 * e.daily.return_net + 0.1 for e in trial.epochs]
            trials[place] = with_days(trial, nets, "return_net")
    after = best_by_luck(dataclasses.replace(study, trials=tuple(trials)))
    assert before is not None
    assert after is not None
    assert after.luck == pytest.approx(before.luck, rel=1e-3)
    assert after.probability == pytest.approx(before.probability, rel=1e-3)


def test_without_skill_a_study_says_so_as_often_as_it_should(
    study_of: Study, study_config: Any
) -> None:
    """The probability of a study whose trials are independent noise is about uniform."""
    study = under(study_of([Outcome.COMPLETE] * 8), study_config, objective__metric="ic",
                  objective__smoothing_epochs=4)  # fmt: skip
    rng, found = np.random.default_rng(2), []
    for _ in range(120):
        trials = []
        for trial in study.trials:
            days = rng.normal(size=len(trial.epochs[-1].daily.dates))
            trials.append(dataclasses.replace(
                with_days(trial, [days] * 4, "ic"), value=float(days.mean())
            ))  # fmt: skip
        luck = best_by_luck(dataclasses.replace(study, trials=tuple(trials)))
        assert luck is not None
        found.append(luck.probability)
    assert np.mean(np.array(found) < 0.1) < 0.2
    assert 0.35 < float(np.median(np.array(found))) < 0.68


def test_a_single_choice_has_nothing_to_deflate(study_of: Study, study_config: Any) -> None:
    study = under(study_of([Outcome.COMPLETE]), study_config, objective__smoothing_epochs=9)
    found = best_by_luck(study)
    assert found is not None
    assert (found.choices, found.luck, found.probability) == (1.0, None, None)
    assert (found.deflated, found.overfitting) == (None, None)


@pytest.mark.parametrize("outcomes", [[], [None], [Outcome.ERROR] * 3, [Outcome.PRUNED] * 2])
def test_without_a_best_trial(study_of: Study, outcomes: list[Outcome | None]) -> None:
    assert best_by_luck(study_of(outcomes)) is None


def test_flat_returns_say_nothing(study_of: Study) -> None:
    study = study_of([Outcome.COMPLETE])
    trial = study.trials[0]
    flat = [np.zeros_like(e.daily.return_net) for e in trial.epochs]
    still = dataclasses.replace(study, trials=(with_days(trial, flat, "return_net"),))
    assert best_by_luck(still) is None
