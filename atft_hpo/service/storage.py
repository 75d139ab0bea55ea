"""The database: its URL, its engine, its tables, and patience with its hiccups.

`open_database(settings)` gives a `Database` that is reachable and initialised. Work is a function
of a connection, run in one transaction by `Database.run`, which repeats it when the connection
breaks. A URL is printed through `mask_url` only.

Not here: what the tables mean (`tables`, `leases`, `epochs`).
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from atft_hpo.config.settings import STORAGE_VARIABLE, Settings
from atft_hpo.errors import StorageError
from atft_hpo.paths import Volume
from atft_hpo.service.embedded import embedded_url
from atft_hpo.service.tables import SCHEMA_VERSION, metadata, schema_table

T = TypeVar("T")
_ACCEPTED = ("postgresql", "postgres", "postgresql+psycopg2")
_INIT_LOCK = 0x61746674  # "atft"
_ASK_LOCK = 0x61736B  # "ask"
_INSUFFICIENT_PRIVILEGE = "42501"
_ENGINE: dict[str, Any] = {
    # Small on purpose: every agent and every trial process holds a pool of its own.
    "pool_size": 2,
    "max_overflow": 1,
    "pool_pre_ping": True,
    "connect_args": {"connect_timeout": 5, "application_name": "atft-hpo"},
}


def normalise_url(url: str) -> str:
    """`url` with the psycopg2 driver spelled out.

    Raises:
        StorageError: not a URL, or not of Postgres.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StorageError(
            f"{mask_url(url)} is not a database URL; "
            "expected postgresql://user:password@host:5432/database"
        ) from error
    if parsed.drivername not in _ACCEPTED:
        raise StorageError(
            f"the database URL begins with {parsed.drivername}://; expected postgresql:// "
            f"(unset {STORAGE_VARIABLE} for the embedded Postgres)"
        )
    return parsed.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def mask_url(url: str) -> str:
    """`url` fit for printing: passwords are ***."""
    try:
        rendered = make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return re.sub(r"^.*@", "***@", url)
    # An unescaped @ in a password is taken for the host's beginning.
    rendered = re.sub(r":\*\*\*@[^?]*@", ":***@", rendered)
    return re.sub(r"(password=)[^&]*", r"\1***", rendered)


@dataclass(frozen=True)
class Database:
    """An initialised database and the volume that belongs to it."""

    url: str = field(repr=False)
    volume: Volume
    engine: Engine = field(repr=False)
    optuna_storage: BaseStorage = field(repr=False)
    """Cached: a long-lived process pays for finished trials once."""
    patience_seconds: float = 60.0
    """How long work is repeated while the database does not answer."""

    def run(self, work: Callable[[Connection], T]) -> T:
        """The result of `work(connection)`, in one transaction.

        A broken connection repeats the whole work, so it must bear being done twice.

        Raises:
            StorageError: the database did not answer for `patience_seconds`.
        """

        def once() -> T:
            with self.engine.begin() as connection:
                return work(connection)

        return self.patiently(once)

    def patiently(self, action: Callable[[], T]) -> T:
        """`action()`, repeated while the database does not answer (Optuna's calls included)."""
        return _patiently(action, self.url, self.patience_seconds)

    @contextmanager
    def ask_lock(self, study: str) -> Iterator[None]:
        """One process at a time, over all machines. A dead holder's lock is free at once."""
        with self.engine.connect() as connection:
            lock = {"kind": _ASK_LOCK, "study": study}
            connection.execute(text("SELECT pg_advisory_lock(:kind, hashtext(:study))"), lock)
            try:
                yield
            finally:
                if not connection.invalidated and not connection.closed:
                    connection.execute(
                        text("SELECT pg_advisory_unlock(:kind, hashtext(:study))"), lock
                    )

    def close(self) -> None:
        """Give the connections back; an embedded server goes on until this process exits."""
        self.engine.dispose()


def open_database(settings: Settings, patience_seconds: float = 60.0) -> Database:
    """The database of `settings`, or the embedded one of its volume; reachable and initialised.

    Raises:
        StorageError: unreachable, not Postgres, or written by another version.
    """
    given = settings.storage_url
    url = normalise_url(given) if given else embedded_url(settings.volume.postgres)
    engine = sqlalchemy.create_engine(url, **_ENGINE)
    try:
        _patiently(lambda: _ping(engine), url, min(3.0, patience_seconds))
        _patiently(lambda: _initialise(engine, url), url, patience_seconds)
    finally:
        engine.dispose()
    try:
        return _connect(url, settings.volume, patience_seconds, checked=False)
    except RuntimeError as error:  # Optuna's tables are of another version
        raise StorageError(f"{mask_url(url)}: {_first_line(error)}") from error


def attach_database(settings: Settings, patience_seconds: float = 60.0) -> Database:
    """The database of `settings`, which this program has opened before: for trial processes.

    Nothing is checked, which saves a third of a second at the start of every trial.

    Raises:
        StorageError: the settings name no database, or not one of Postgres.
    """
    if settings.storage_url is None:
        raise StorageError(f"{STORAGE_VARIABLE} is not set; a trial process is started by an agent")
    url = normalise_url(settings.storage_url)
    return _connect(url, settings.volume, patience_seconds, checked=True)


def _connect(url: str, volume: Volume, patience_seconds: float, checked: bool) -> Database:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = RDBStorage(
        url,
        engine_kwargs=dict(_ENGINE),
        skip_table_creation=True,
        skip_compatibility_check=checked,
    )
    storage = optuna.storages.get_storage(backend)
    return Database(url, volume, backend.engine, storage, patience_seconds)


def _ping(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _initialise(engine: Engine, url: str) -> None:
    """Optuna's tables, then ours, by one process at a time; the version row lands last."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _INIT_LOCK})
        metadata.create_all(connection, tables=[schema_table])
        version = connection.execute(select(schema_table.c.version)).scalar()
        if version is None:
            RDBStorage(url, engine_kwargs={"poolclass": sqlalchemy.NullPool})
            metadata.create_all(connection)
            connection.execute(schema_table.insert().values(version=SCHEMA_VERSION))
        elif version != SCHEMA_VERSION:
            raise StorageError(
                f"{mask_url(url)} holds tables of version {version}, this program writes version "
                f"{SCHEMA_VERSION}; use another database or the program that wrote it"
            )


def _patiently(action: Callable[[], T], url: str, seconds: float) -> T:
    deadline = time.monotonic() + seconds
    pause = 0.1
    while True:
        try:
            return action()
        except (DBAPIError, StorageInternalError, PoolTimeoutError) as error:
            if _is_refusal(error):
                raise _refused(error, url) from error
            if not _may_pass(error):
                raise
            if time.monotonic() + pause > deadline:
                raise _unreachable(error, url) from error
        time.sleep(pause)
        pause = min(2 * pause, 2.0)


def _cause(error: BaseException) -> BaseException:
    """What the driver said, under Optuna's wrapping."""
    inner = error.__cause__
    return _cause(inner) if isinstance(error, StorageInternalError) and inner else error


def _may_pass(error: Exception) -> bool:
    """Whether waiting may help: a lost connection, a deadlock, a server that is starting."""
    return isinstance(_cause(error), OperationalError | InterfaceError | PoolTimeoutError)


def _is_refusal(error: Exception) -> bool:
    cause = _cause(error)
    code = getattr(getattr(cause, "orig", None), "pgcode", None)
    return code == _INSUFFICIENT_PRIVILEGE or "authentication failed" in str(cause)


def _first_line(error: BaseException) -> str:
    cause = _cause(error)
    return str(getattr(cause, "orig", cause)).strip().partition("\n")[0]


def _unreachable(error: Exception, url: str) -> StorageError:
    return StorageError(
        f"the database {mask_url(url)} does not answer ({_first_line(error)}); start it, correct "
        f"{STORAGE_VARIABLE}, or unset it for the embedded Postgres"
    )


def _refused(error: Exception, url: str) -> StorageError:
    return StorageError(
        f"the database {mask_url(url)} refused the work ({_first_line(error)}); check user, "
        f"password and rights in {STORAGE_VARIABLE}"
    )
