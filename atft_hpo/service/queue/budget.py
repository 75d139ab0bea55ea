"""Why no new trial starts although fewer than the target have run.

Asked inside the claiming transaction, under the study's row lock, so that all agents see the same
answer. A trial that waits to be continued is not new: it runs to its end whatever the budget says.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from atft_hpo.config.search_schema import BudgetConfig
from atft_hpo.search.outcome import Outcome


@dataclass(frozen=True)
class StudyStop:
    """No new trial starts."""

    reason: str
    is_error: bool = False
    """The study is broken, not done: the command that runs it fails."""


def budget_stop(connection: Connection, study: RowMapping) -> StudyStop | None:
    """The first limit of the study's budget that is reached; None when it may go on.

    `study` is its row in `atft_study`.
    """
    budget = BudgetConfig.model_validate(study["budget"])
    used = connection.execute(text(_USED), {"study": study["name"]}).mappings().one()
    return (
        _same_failures(connection, study["name"], budget)
        or _wall_clock(used, budget)
        or _device_hours(used, budget)
        or _target_value(used, budget)
    )


_USED = """
SELECT extract(epoch FROM clock_timestamp() - s.created_at) / 3600 AS wall_hours,
       (SELECT max(value) FROM atft_trial t WHERE t.study = s.name AND t.outcome = 'COMPLETE')
           AS best,
       (SELECT coalesce(sum(device_seconds), 0) FROM atft_trial t WHERE t.study = s.name) / 3600
       + (SELECT coalesce(sum(extract(epoch FROM clock_timestamp() - a.started_at)), 0)
          FROM atft_attempt a WHERE a.study = s.name AND a.ended_at IS NULL) / 3600
           AS device_hours
FROM atft_study s WHERE s.name = :study
"""

_FIRST_FINISHED = """
SELECT outcome, message FROM atft_trial
WHERE study = :study AND state = 'finished' AND outcome <> 'CANCELLED'
ORDER BY ended_at, slot LIMIT :count
"""


def _same_failures(connection: Connection, study: str, budget: BudgetConfig) -> StudyStop | None:
    count = budget.same_failures_stop
    rows = connection.execute(text(_FIRST_FINISHED), {"study": study, "count": count}).all()
    outcomes = {Outcome[row.outcome] for row in rows}
    if len(rows) < count or len(outcomes) != 1 or not next(iter(outcomes)).failed:
        return None
    return StudyStop(
        f"the first {count} trials all ended as {rows[-1].outcome} ({rows[-1].message}); correct "
        "the cause and start again under another study.name",
        is_error=True,
    )


def _wall_clock(used: RowMapping, budget: BudgetConfig) -> StudyStop | None:
    limit = budget.wall_clock_hours
    if limit is None or used["wall_hours"] < limit:
        return None
    return StudyStop(f"budget.wall_clock_hours = {_plain(limit)} is used up")


def _device_hours(used: RowMapping, budget: BudgetConfig) -> StudyStop | None:
    limit = budget.device_hours
    if limit is None or used["device_hours"] < limit:
        return None
    return StudyStop(f"budget.device_hours = {_plain(limit)} is used up")


def _target_value(used: RowMapping, budget: BudgetConfig) -> StudyStop | None:
    limit, best = budget.target_value, used["best"]
    if limit is None or best is None or best < limit:
        return None
    return StudyStop(f"budget.target_value = {_plain(limit)} is reached (best {_plain(best)})")


def _plain(number: Any) -> str:
    return f"{number:.4g}"
