"""Our own tables, beside Optuna's in the same database. Their names begin with `atft_`.

Optuna keeps what samplers and dashboards read: parameters, values, states. These tables keep what
running needs: who works on what (leases), how often it was tried (attempts), and what each epoch
measured, daily series included. A trial is a numbered *slot* of its study from the moment it is
claimed; Optuna's number follows when it has been asked.

The database's clock is the only clock: no time computed on a machine is ever written.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA_VERSION = 2
"""Raised with every change of these tables; a database of another version is refused."""

metadata = MetaData()
now = func.clock_timestamp

study_table = Table(
    "atft_study",
    metadata,
    Column("name", Text, primary_key=True),
    Column("optuna_id", Integer, nullable=False),
    Column(
        "config",
        Text,
        nullable=False,
        comment="TOML; split as dates; see `budget`",
    ),
    Column("budget", JSONB, nullable=False),
    Column("space_sha256", Text, nullable=False),
    Column("panel", Text, nullable=False, comment="path, relative to the volume where inside it"),
    Column("panel_fingerprint", Text, nullable=False),
    Column("panel_record", JSONB, nullable=False, comment="a `PanelRecord`: what has which name"),
    Column("target_trials", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=now()),
    Column("stop_mode", Text, nullable=False, server_default="", comment="'', drain or now"),
    Column("stop_reason", Text, nullable=False, server_default=""),
    Column("last_token", BigInteger, nullable=False, server_default="0"),
)

trial_table = Table(
    "atft_trial",
    metadata,
    Column("study", Text, primary_key=True),
    Column("slot", Integer, primary_key=True, comment="0 … target_trials - 1"),
    Column("state", Text, nullable=False, comment="waiting, running or finished"),
    Column("trial_id", Integer, comment="Optuna's; null until asked"),
    Column("number", Integer, comment="Optuna's; null until asked"),
    Column("params", JSONB),
    Column("owner", Text, nullable=False, server_default=""),
    Column("token", BigInteger, nullable=False, comment="fencing: grows with every claim"),
    Column("attempt", Integer, nullable=False, comment="the current process, from 1"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("lease_expires_at", DateTime(timezone=True)),
    Column("cancel_requested", Boolean, nullable=False, server_default="false"),
    Column("outcome", Text, comment="an Outcome's name; null until finished"),
    Column("message", Text, nullable=False, server_default=""),
    Column("value", Double),
    Column("started_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("told_at", DateTime(timezone=True), comment="when Optuna was told"),
    Column("device_seconds", Double, nullable=False, server_default="0"),
    ForeignKeyConstraint(["study"], ["atft_study.name"], ondelete="CASCADE"),
    Index("atft_trial_number", "study", "number", unique=True),
)

attempt_table = Table(
    "atft_attempt",
    metadata,
    Column("study", Text, primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False, server_default="0", comment="the trial process"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=now()),
    Column("ended_at", DateTime(timezone=True)),
    Column("ending", Text, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    ForeignKeyConstraint(
        ["study", "slot"], ["atft_trial.study", "atft_trial.slot"], ondelete="CASCADE"
    ),
)

epoch_table = Table(
    "atft_epoch",
    metadata,
    Column("study", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("step", Integer, primary_key=True, comment="phase × STEPS_PER_PHASE + epoch"),
    Column("attempt", Integer, nullable=False),
    Column("facts", JSONB, nullable=False, comment="the report without its daily series"),
    Column("daily", LargeBinary, nullable=False, comment="see series_bytes.encode_daily"),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=now()),
    ForeignKeyConstraint(
        ["study", "number"], ["atft_trial.study", "atft_trial.number"], ondelete="CASCADE"
    ),
    Index("atft_epoch_step", "study", "step", "number"),
    Index("atft_epoch_recorded", "study", "recorded_at"),
)

test_read_table = Table(
    "atft_test_read",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("study", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=now()),
    Column("host", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("checkpoint_sha256", Text, nullable=False),
    ForeignKeyConstraint(["study"], ["atft_study.name"], ondelete="CASCADE"),
    comment="looks at the test range; each one after the first is worth less",
)

schema_table = Table(
    "atft_schema",
    metadata,
    Column("version", Integer, primary_key=True),
    comment="written last: without a row here the database is not initialised",
)
