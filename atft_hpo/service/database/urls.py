"""Database URLs: one spelling inside, and none printed with its password."""

import re

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from atft_hpo.config.settings import STORAGE_VARIABLE
from atft_hpo.errors import StorageError

_ACCEPTED = ("postgresql", "postgres", "postgresql+psycopg2")


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
