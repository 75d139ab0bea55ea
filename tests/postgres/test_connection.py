import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from atft_hpo.config.settings import Settings
from atft_hpo.errors import StorageError, VolumeError
from atft_hpo.paths import Volume
from atft_hpo.service.database.connection import (
    Database,
    attach_database,
    durable_optuna_storage,
    open_database,
)
from atft_hpo.service.database.embedded import embedded_url
from atft_hpo.service.database.tables import SCHEMA_VERSION

pytestmark = pytest.mark.postgres
EIGHT_OPENERS = """
import os
from atft_hpo.config.settings import read_settings
from atft_hpo.service.database.connection import open_database

children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        open_database(read_settings()).close()
        os._exit(0)
    children.append(child)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_eight_processes_initialise_an_empty_database_once(empty_url: str, tmp_path: Path) -> None:
    environment = os.environ | {"ATFT_HPO_STORAGE": empty_url, "ATFT_HPO_VOLUME": str(tmp_path)}
    racers = subprocess.run(
        [sys.executable, "-c", EIGHT_OPENERS],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert racers.stdout.split() == ["0"] * 8, racers.stderr
    database = attach_database(Settings(empty_url, Volume(tmp_path), "cpu"))
    assert database.run(lambda c: c.execute(text("SELECT version FROM atft_schema")).all()) == [
        (SCHEMA_VERSION,)
    ]
    database.close()


def test_unreachable_database_is_one_masked_line(tmp_path: Path) -> None:
    url = "postgres://me:secret@127.0.0.1:1/base"
    with pytest.raises(StorageError) as caught:
        open_database(Settings(url, Volume(tmp_path), "cpu"), patience_seconds=0.2)
    line = str(caught.value)
    assert "does not answer" in line
    assert "Connection refused" in line
    assert "me:***@127.0.0.1:1" in line
    assert "secret" not in line
    assert "\n" not in line


def test_unknown_database_and_user(empty_url: str, tmp_path: Path) -> None:
    for changes in ({"database": "absent"}, {"username": "nobody"}):
        url = make_url(empty_url).set(**changes).render_as_string(hide_password=False)
        with pytest.raises(StorageError, match="does not exist"):
            open_database(Settings(url, Volume(tmp_path), "cpu"), patience_seconds=0.1)


def test_user_without_rights_is_told_so(empty_url: str, database: Database, tmp_path: Path) -> None:
    role = text("CREATE ROLE guest LOGIN")
    database.run(lambda c: c.execute(role))
    url = make_url(empty_url).set(username="guest").render_as_string(hide_password=False)
    try:
        with pytest.raises(StorageError, match=r"refused the work.*permission denied"):
            open_database(Settings(url, Volume(tmp_path), "cpu"))
    finally:
        database.run(lambda c: c.execute(text("DROP ROLE guest")))


def test_tables_of_another_version_are_refused(settings: Settings, database: Database) -> None:
    database.run(lambda c: c.execute(text("UPDATE atft_schema SET version = 99")))
    with pytest.raises(
        StorageError, match=f"version 99, this program writes version {SCHEMA_VERSION}"
    ):
        open_database(settings)


def test_work_is_repeated_when_the_connection_breaks(database: Database) -> None:
    calls: list[int] = []

    def work(connection: Any) -> int:
        calls.append(1)
        if len(calls) == 1:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return int(connection.execute(text("SELECT 41 + 1")).scalar_one())

    assert database.run(work) == 42
    assert len(calls) == 2


def test_commits_wait_for_the_disk_but_for_optunas_that_ours_follow(database: Database) -> None:
    durable: Any = durable_optuna_storage(database)
    engines = (
        database.engine, database.single_engine, database.optuna_engine, durable._backend.engine,
    )  # fmt: skip
    answers = []
    for engine in engines:
        with engine.connect() as connection:
            answers.append(connection.execute(text("SHOW synchronous_commit")).scalar_one())
    durable._backend.engine.dispose()
    assert answers == ["on", "on", "off", "on"]


def test_mistakes_are_not_repeated(database: Database) -> None:
    calls: list[int] = []

    def work(connection: Any) -> None:
        calls.append(1)
        connection.execute(text("SELECT * FROM absent"))

    with pytest.raises(ProgrammingError):
        database.run(work)
    assert len(calls) == 1


def test_ask_lock_admits_one_at_a_time(settings: Settings, database: Database) -> None:
    other = attach_database(settings)
    order: list[str] = []

    def second() -> None:
        with other.ask_lock("s"):
            order.append("second")

    with database.ask_lock("s"):
        thread = threading.Thread(target=second)
        thread.start()
        with other.ask_lock("another study"):
            order.append("another")
        thread.join(0.2)
        order.append("first")
    thread.join()
    other.close()
    assert order == ["another", "first", "second"]


def test_two_processes_share_an_embedded_server_until_the_last_has_gone(
    short_directory: Path, alive: Callable[[int], bool]
) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from atft_hpo.service.database.embedded import embedded_url; "
        f"print(embedded_url(Path({str(short_directory / 'postgres')!r})), flush=True); "
        "sys.stdin.read()"
    )

    def holder() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    first, second = holder(), holder()
    assert first.stdout is not None
    assert second.stdout is not None
    assert first.stdout.readline() == second.stdout.readline()
    server = int((short_directory / "postgres" / "postmaster.pid").read_text().split()[0])
    first.kill()  # never signs off
    first.communicate()
    third = holder()
    assert third.stdout is not None
    third.stdout.readline()
    second.communicate()
    assert alive(server)
    third.communicate()
    assert not alive(server)


def test_volume_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VolumeError, match="ATFT_HPO_VOLUME"):
        embedded_url(tmp_path / "file" / "postgres")
