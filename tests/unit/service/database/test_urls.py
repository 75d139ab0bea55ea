import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, make_url

from atft_hpo.config.settings import Settings
from atft_hpo.errors import StorageError
from atft_hpo.paths import Volume
from atft_hpo.service.database.connection import attach_database
from atft_hpo.service.database.urls import mask_url, normalise_url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgres_is_given_the_driver(scheme: str) -> None:
    url = normalise_url(f"{scheme}://user:pass%40word@host:5433/base?sslmode=require")
    assert url == "postgresql+psycopg2://user:pass%40word@host:5433/base?sslmode=require"


@pytest.mark.parametrize(
    "url", ["sqlite:///x.db", "mysql://u:secret@h/x", "postgresql+psycopg://u:secret@h/x"]
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(StorageError, match="expected postgresql://") as caught:
        normalise_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense", "//u:secret@h", "postgresql://u:secret@h:port/x"])
def test_what_is_no_url_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(StorageError, match="is not a database URL") as caught:
        normalise_url(url)
    assert "secret" not in str(caught.value)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=4))
def test_no_password_is_printed(password: str) -> None:
    masked = mask_url(
        URL.create("postgresql", "me", password, "host", 5432, "base").render_as_string(False)
    )
    assert masked == "postgresql://me:***@host:5432/base"


def test_unescaped_password_is_not_printed_either() -> None:
    masked = mask_url("postgresql://me:se/c@ret@host/base")
    assert "ret" not in masked
    assert "c@" not in masked


def test_password_in_the_query_is_masked() -> None:
    assert mask_url("postgresql://host/base?password=secret&sslmode=require") == (
        "postgresql://host/base?password=***&sslmode=require"
    )


def test_url_without_password_stays_as_it_is() -> None:
    url = "postgresql+psycopg2://postgres@/postgres?host=%2Ftmp%2Fwith+space"
    assert mask_url(url) == url
    assert make_url(normalise_url(url)).query["host"] == "/tmp/with space"


def test_trial_process_needs_a_url(tmp_path: object) -> None:
    settings = Settings(None, Volume(tmp_path), "cpu")  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="ATFT_HPO_STORAGE is not set"):
        attach_database(settings)
