"""Epochs in the database: written by trial processes under their fencing token, read by everyone.

Daily series are stored as bytes (`series_bytes`). JSON has no NaN: a non-finite number is stored as
null and read back as NaN.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, RowMapping, select, text

from atft_hpo.search.records import EpochRecord
from atft_hpo.service.database.fencing import Lease, TrialStop
from atft_hpo.service.database.series_bytes import decode_daily, encode_daily
from atft_hpo.service.database.tables import epoch_table
from atft_hpo.training.phases.epoch_report import EpochReport

_PLAIN = ("phase", "phase_name", "epoch", "epochs_done", "epochs_total")
_NUMBERS = ("value", "smoothed", "seconds", "samples_per_second", "eta_seconds")
_TABLES = ("metrics", "train")


_WRITE = text("""
    WITH held AS (
        SELECT cancel_requested, trial_id FROM atft_trial
        WHERE study = :study AND slot = :slot AND token = :token AND state = 'running' FOR SHARE
    ), written AS (
        INSERT INTO atft_epoch (study, number, step, attempt, facts, daily, recorded_at)
        SELECT :study, :number, :step, :attempt, CAST(:facts AS jsonb), :daily, clock_timestamp()
        FROM held
        ON CONFLICT (study, number, step) DO UPDATE SET attempt = excluded.attempt,
            facts = excluded.facts, daily = excluded.daily, recorded_at = excluded.recorded_at
    ), open AS (
        SELECT trial_id FROM held JOIN trials USING (trial_id)
        WHERE trials.state IN ('RUNNING', 'WAITING')
    ), reported AS (
        INSERT INTO trial_intermediate_values
            (trial_id, step, intermediate_value, intermediate_value_type)
        SELECT trial_id, :step, CAST(:smoothed AS double precision), 'FINITE'
        FROM open WHERE CAST(:smoothed AS double precision) IS NOT NULL
        ON CONFLICT (trial_id, step) DO NOTHING
    )
    SELECT cancel_requested, open.trial_id IS NULL FROM held LEFT JOIN open ON true
""")
"""The epoch in our table, and what Optuna's `Trial.report` would write in its own.

FOR SHARE: nobody can take the slot before this transaction has ended.
"""


def epoch_row(lease: Lease, number: int, attempt: int, report: EpochReport) -> dict[str, Any]:
    """What `write_epoch` writes, and under which lease."""
    return {
        **asdict(lease),
        "number": number,
        "step": report.step,
        "attempt": attempt,
        "smoothed": _number(report.smoothed),
        "facts": json.dumps(encode_facts(report)),
        "daily": encode_daily(report.daily),
    }


def write_epoch(connection: Connection, row: Mapping[str, Any]) -> TrialStop | None:
    """Write one epoch and report it to Optuna; nothing is written when the lease is lost.

    Returns why the trial is not to go on, if so.

    A step that stands already is replaced, so that a retry may repeat it. Optuna, whose samplers
    may have learned from it, keeps what it heard first; it hears only numbers that are finite, and
    only while its trial runs.
    """
    found = connection.execute(_WRITE, row).one_or_none()
    if found is None:
        return TrialStop.LEASE_LOST
    cancelled, ended = found
    if cancelled:
        return TrialStop.CANCELLED
    return TrialStop.ENDED if ended else None


def read_epochs(
    connection: Connection, study: str, number: int | None = None, daily: bool = True
) -> dict[int, tuple[EpochRecord, ...]]:
    """Epochs by trial number, in order of step; of one trial when `number` is given."""
    columns = [c for c in epoch_table.c if daily or c.name != "daily"]
    statement = select(*columns).where(epoch_table.c.study == study)
    if number is not None:
        statement = statement.where(epoch_table.c.number == number)
    rows = connection.execute(statement.order_by(epoch_table.c.number, epoch_table.c.step))
    return _by_trial(rows.mappings().all())


def encode_facts(report: EpochReport) -> dict[str, Any]:
    """The report without its daily series, as JSON values."""
    facts: dict[str, Any] = {key: getattr(report, key) for key in _PLAIN}
    facts |= {key: _number(getattr(report, key)) for key in (*_NUMBERS, "validation_seconds")}
    for table in _TABLES:
        facts[table] = {key: _number(value) for key, value in getattr(report, table).items()}
    return facts | {"modules": list(report.modules), "shared": report.shared}


def decode_epoch(row: RowMapping) -> EpochRecord:
    """A row of `atft_epoch`; its daily series is None when the column was not read."""
    facts: Mapping[str, Any] = row["facts"]
    content: dict[str, Any] = {key: facts[key] for key in _PLAIN}
    content |= {key: _read(facts[key]) for key in _NUMBERS}
    content |= {table: {k: _read(v) for k, v in facts[table].items()} for table in _TABLES}
    return EpochRecord(
        step=row["step"],
        attempt=row["attempt"],
        modules=tuple(facts["modules"]),
        shared=facts.get("shared", False),  # earlier versions shared nothing
        daily=decode_daily(row["daily"]) if "daily" in row else None,
        **content,
    )


def _by_trial(rows: Sequence[RowMapping]) -> dict[int, tuple[EpochRecord, ...]]:
    found: dict[int, list[EpochRecord]] = {}
    for row in rows:
        found.setdefault(row["number"], []).append(decode_epoch(row))
    return {number: tuple(epochs) for number, epochs in found.items()}


def _number(value: float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _read(value: float | None) -> float:
    return math.nan if value is None else float(value)
