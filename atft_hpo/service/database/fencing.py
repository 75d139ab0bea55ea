"""A lease, the condition under which a write by it counts, and why its holder has to stop.

    update(trial_table).where(*held(lease))

Every claim of a slot gets a larger token than all before it, so that a process which lost its
lease, but does not know, changes nothing. `queue.leases` gives leases and takes them back.
"""

import enum
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from atft_hpo.service.database.tables import trial_table


@dataclass(frozen=True)
class Lease:
    """The right to work on a slot, as long as `token` is the slot's current one."""

    study: str
    slot: int
    token: int


class TrialStop(enum.Enum):
    """Why a trial process is to stop, found by its agent, or by itself as it writes an epoch."""

    INTERRUPTED = "interrupted with its agent"
    CANCELLED = "cancelled while it ran"
    ENDED = "ended in Optuna's dashboard while it ran"
    TIMED_OUT = "ran longer than budget.trial_hours"
    LEASE_LOST = "the lease was lost"


def held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    """Conditions on a row of `atft_trial`: the slot of `lease`, as long as it is not lost."""
    row = trial_table.c
    return (
        row.study == lease.study,
        row.slot == lease.slot,
        row.token == lease.token,
        row.state == "running",
    )
