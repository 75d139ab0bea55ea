"""A study's past, written into the database in bulk: as if its trials had run.

    write_history(connection, study, config, trials=2000, rng)

The rows are those that the service and Optuna would have written; only the way in is another one.
Through Optuna's interface each value is a transaction: a quarter of an hour for 2,000 trials.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, insert, text

from atft_hpo.config.schema import Config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.service.database.epoch_rows import encode_facts
from atft_hpo.service.database.series_bytes import encode_daily
from atft_hpo.service.database.tables import attempt_table, epoch_table, trial_table
from atft_hpo.service.studies.study import OpenStudy
from atft_hpo.training.phases.epoch_report import STEPS_PER_PHASE, EpochReport

DAYS = 250
METRICS = 120
"""As many as four horizons have."""
BATCH = 50
"""Trials per statement."""


def steps_of(config: Config) -> list[tuple[int, int]]:
    """(phase number, epoch) of every epoch of a trial."""
    return [
        (PHASE_NAMES.index(name), epoch)
        for name, phase in config.phases.in_order
        for epoch in range(phase.epochs)
    ]


def report_of(
    phase: int, epoch: int, done: int, total: int, skill: float, rng: np.random.Generator
) -> EpochReport:
    """An epoch such as training reports, of the size it has there."""
    ic, rank, gross, net, turnover, pure = (
        0.01 * skill + 0.006 * rng.standard_normal((6, DAYS))
    ).astype(np.float32)
    dates_D = np.arange("2024-01-01", DAYS, dtype="datetime64[D]")
    metrics = dict(
        zip([f"metric_{i}" for i in range(METRICS)], rng.standard_normal(METRICS), strict=True)
    )
    metrics |= {"ic": skill, "rank_ic": skill, "sharpe": 30 * skill}
    return EpochReport(
        phase=phase, phase_name=PHASE_NAMES[phase], epoch=epoch, epochs_done=done,
        epochs_total=total, metrics=metrics, value=30 * skill, smoothed=30 * skill,
        train={f"loss_{i}": 0.1 * i for i in range(24)}, modules=("fan", "graph", "san"),
        seconds=60.0, validation_seconds=4.0, samples_per_second=1e5, eta_seconds=600.0,
        daily=DailySeries(dates_D, ic, rank, gross, net, turnover, pure, dates_D),
    )  # fmt: skip


def write_history(
    connection: Connection,
    study: OpenStudy,
    space: Mapping[str, BaseDistribution],
    trials: int,
    rng: np.random.Generator,
) -> None:
    """`trials` COMPLETE trials with all their epochs; the study's tables must be empty."""
    for first in range(0, trials, BATCH):
        numbers = range(first, min(first + BATCH, trials))
        skills = (0.02 * rng.standard_normal(len(numbers))).tolist()
        ids = _optuna_trials(connection, study, space, numbers, skills, rng)
        _our_trials(connection, study, numbers, ids, skills)
        for number, skill in zip(numbers, skills, strict=True):
            connection.execute(insert(epoch_table), list(_epochs(study, number, skill, rng)))
    connection.execute(text("ANALYZE"))  # as autovacuum does while a study grows


def _optuna_trials(
    connection: Connection, study: OpenStudy, space: Mapping[str, BaseDistribution],
    numbers: Sequence[int], skills: Sequence[float], rng: np.random.Generator,
) -> list[int]:  # fmt: skip
    now = datetime.now(UTC).replace(tzinfo=None)
    trials: Table = models.TrialModel.__table__
    rows = [
        {
            "number": number, "study_id": study.optuna_id, "state": TrialState.COMPLETE,
            "datetime_start": now, "datetime_complete": now,
        }
        for number in numbers
    ]  # fmt: skip
    statement = insert(trials).returning(trials.c.trial_id, sort_by_parameter_order=True)
    ids = list(connection.execute(statement, rows).scalars())
    finite = models.TrialValueModel.TrialValueType.FINITE
    step_finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    values = [
        {"trial_id": i, "objective": 0, "value": 30 * skill, "value_type": finite}
        for i, skill in zip(ids, skills, strict=True)
    ]
    params = [
        {
            "trial_id": i, "param_name": name, "distribution_json": distribution_to_json(domain),
            "param_value": _drawn(domain, rng),
        }
        for i in ids
        for name, domain in space.items()
    ]  # fmt: skip
    attributes = [
        {"trial_id": i, "key": key, "value_json": "0"}
        for i in ids
        for key in ("slot", "outcome", "message")
    ]
    intermediate = [
        {
            "trial_id": i, "step": phase * STEPS_PER_PHASE + epoch,
            "intermediate_value": 30 * skill, "intermediate_value_type": step_finite,
        }
        for i, skill in zip(ids, skills, strict=True)
        for phase, epoch in steps_of(study.config)
    ]  # fmt: skip
    for model, content in (
        (models.TrialValueModel, values),
        (models.TrialParamModel, params),
        (models.TrialUserAttributeModel, attributes),
        (models.TrialIntermediateValueModel, intermediate),
    ):
        connection.execute(insert(model), content)
    return ids


def _drawn(domain: BaseDistribution, rng: np.random.Generator) -> float:
    """A value of `domain` in Optuna's internal form."""
    choices = getattr(domain, "choices", None)
    if choices is not None:
        return float(rng.integers(len(choices)))
    low, high = float(getattr(domain, "low")), float(getattr(domain, "high"))  # noqa: B009
    value = low + (high - low) * rng.random()
    return float(round(value)) if type(domain).__name__.startswith("Int") else value


def _our_trials(
    connection: Connection, study: OpenStudy, numbers: Sequence[int], ids: Sequence[int],
    skills: Sequence[float],
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    ended = {"started_at": now, "ended_at": now}
    trials = [
        {
            "study": study.name, "slot": number, "state": "finished", "trial_id": trial_id,
            "number": number, "params": {}, "owner": "past:1:a", "token": 1, "attempt": 1,
            "outcome": "COMPLETE", "value": 30 * skill, "told_at": now,
            "device_seconds": 60.0, **ended,
        }
        for number, trial_id, skill in zip(numbers, ids, skills, strict=True)
    ]  # fmt: skip
    attempts = [
        {
            "study": study.name, "slot": number, "attempt": 1, "host": "past", "pid": 1,
            "ending": "COMPLETE", **ended,
        }
        for number in numbers
    ]  # fmt: skip
    connection.execute(insert(trial_table), trials)
    connection.execute(insert(attempt_table), attempts)


def _epochs(
    study: OpenStudy, number: int, skill: float, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    steps = steps_of(study.config)
    for done, (phase, epoch) in enumerate(steps, start=1):
        report = report_of(phase, epoch, done, len(steps), skill, rng)
        yield {
            "study": study.name, "number": number, "step": report.step, "attempt": 1,
            "facts": encode_facts(report), "daily": encode_daily(report.daily),
        }  # fmt: skip
