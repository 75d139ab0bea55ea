"""The database: reachable, initialised, with an engine for our tables and one for Optuna's.

`open_database(settings)` gives a `Database` that is reachable and initialised. Work is a function
of a connection, run in one transaction by `Database.run`, which repeats it when the connection
breaks.

Not here: what the tables mean (`tables`, `epoch_rows`, `queue`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Connection, Engine, event, select, text

from atft_hpo.config.settings import STORAGE_VARIABLE, Settings
from atft_hpo.errors import StorageError
from atft_hpo.paths import Volume
from atft_hpo.service.database.embedded import embedded_url
from atft_hpo.service.database.retry import first_line, patiently
from atft_hpo.service.database.tables import SCHEMA_VERSION, epoch_table, metadata, schema_table
from atft_hpo.service.database.urls import mask_url, normalise_url

T = TypeVar("T")
_INIT_LOCK = 0x61746674  # "atft"
_ASK_LOCK = 0x61736B  # "ask"
_ENGINE: dict[str, Any] = {
    # Small on purpose: every agent and every trial process holds a pool of its own.
    "pool_size": 2,
    "max_overflow": 1,
    # Not asked whether they live before each use: all work is repeated when its connection breaks.
    "pool_pre_ping": False,
    "connect_args": {"connect_timeout": 5, "application_name": "atft-hpo"},
}


@dataclass(frozen=True)
class Database:
    """An initialised database and the volume that belongs to it."""

    url: str = field(repr=False)
    volume: Volume
    engine: Engine = field(repr=False)
    single_engine: Engine = field(repr=False)
    """Each statement is a transaction by itself."""
    optuna_engine: Engine = field(repr=False)
    optuna_storage: BaseStorage = field(repr=False)
    """Cached: a long-lived process pays for finished trials once.

    Its commits do not wait for the disk. Whoever writes through it does so inside a transaction or
    lock of ours and commits work of ours afterwards, which waits for both; if the server falls down
    in between, our connection breaks and all is done again. Only what halving and Hyperband note
    while they judge an epoch has no commit of ours behind it.
    """
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

    def run_single(self, work: Callable[[Connection], T]) -> T:
        """As `run`, but each statement is a transaction by itself.

        It saves the two messages that begin and end one.

        Raises:
            StorageError: the database did not answer for `patience_seconds`.
        """

        def once() -> T:
            with self.single_engine.connect() as connection:
                return work(connection)

        return self.patiently(once)

    def patiently(self, action: Callable[[], T]) -> T:
        """`action()`, repeated while the database does not answer (Optuna's calls included)."""
        return patiently(action, self.url, self.patience_seconds)

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
        self.single_engine.dispose()
        self.optuna_engine.dispose()


def open_database(settings: Settings, patience_seconds: float = 60.0) -> Database:
    """The database of `settings`, or the embedded one of its volume; reachable and initialised.

    Raises:
        StorageError: unreachable, not Postgres, or written by another version.
    """
    given = settings.storage_url
    url = normalise_url(given) if given else embedded_url(settings.volume.postgres)
    engine = sqlalchemy.create_engine(url, **_ENGINE)
    try:
        patiently(lambda: _ping(engine), url, min(3.0, patience_seconds))
        patiently(lambda: _initialise(engine, url), url, patience_seconds)
    finally:
        engine.dispose()
    try:
        return _connect(url, settings.volume, patience_seconds, checked=False)
    except RuntimeError as error:  # Optuna's tables are of another version
        raise StorageError(f"{mask_url(url)}: {first_line(error)}") from error


def attach_database(settings: Settings, patience_seconds: float = 60.0) -> Database:
    """The database of `settings`, which this program has opened before: for trial processes.

    Nothing is checked, which saves a third of a second at the start of every trial.

    Raises:
        StorageError: the settings name no database, or not one of Postgres; it does not answer.
    """
    if settings.storage_url is None:
        raise StorageError(f"{STORAGE_VARIABLE} is not set; a trial process is started by an agent")
    url = normalise_url(settings.storage_url)
    return _connect(url, settings.volume, patience_seconds, checked=True)


def durable_optuna_storage(database: Database) -> BaseStorage:
    """Optuna's storage for writers that commit nothing of ours afterwards: people in a dashboard.

    Raises:
        StorageError: the database did not answer for `database.patience_seconds`.
    """
    backend = _optuna_backend(database.url, database.patience_seconds, checked=True)
    return optuna.storages.get_storage(backend)


def _connect(url: str, volume: Volume, patience_seconds: float, checked: bool) -> Database:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = _optuna_backend(url, patience_seconds, checked)
    event.listen(backend.engine, "connect", _do_not_wait)
    backend.engine.dispose()  # it has a connection from before
    engine = sqlalchemy.create_engine(url, **_ENGINE)
    single = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", **_ENGINE)
    storage = optuna.storages.get_storage(backend)
    return Database(url, volume, engine, single, backend.engine, storage, patience_seconds)


def _optuna_backend(url: str, patience_seconds: float, checked: bool) -> RDBStorage:
    return patiently(  # it asks for the version of Optuna's tables
        lambda: RDBStorage(
            url,
            engine_kwargs=dict(_ENGINE),
            skip_table_creation=True,
            skip_compatibility_check=checked,
        ),
        url,
        patience_seconds,
    )


def _do_not_wait(connection: Any, _record: Any) -> None:
    """Optuna commits each value by itself, some five times to ask for one trial."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO off")
    connection.commit()


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
        for index in epoch_table.indexes:  # they say nothing new, so an older database gets them
            index.create(connection, checkfirst=True)
