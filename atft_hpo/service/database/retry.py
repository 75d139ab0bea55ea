"""Waiting for a database that does not answer, and saying in one line what is wrong with it."""

import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from atft_hpo.config.settings import STORAGE_VARIABLE
from atft_hpo.errors import StorageError
from atft_hpo.service.database.urls import mask_url

T = TypeVar("T")
_INSUFFICIENT_PRIVILEGE = "42501"


def patiently(action: Callable[[], T], url: str, seconds: float) -> T:
    """`action()`, repeated for up to `seconds` while the database at `url` does not answer.

    Raises:
        StorageError: it did not answer in time, or refused; other errors pass unchanged.
    """
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
    cause = _cause(error)
    # The driver's bare class has no SQLSTATE: the connection went in the middle of an answer.
    lost = type(cause) is DatabaseError
    return lost or isinstance(cause, OperationalError | InterfaceError | PoolTimeoutError)


def _is_refusal(error: Exception) -> bool:
    cause = _cause(error)
    code = getattr(getattr(cause, "orig", None), "pgcode", None)
    return code == _INSUFFICIENT_PRIVILEGE or "authentication failed" in str(cause)


def first_line(error: BaseException) -> str:
    """What the driver said, without its statements and hints."""
    cause = _cause(error)
    return str(getattr(cause, "orig", cause)).strip().partition("\n")[0]


def _unreachable(error: Exception, url: str) -> StorageError:
    return StorageError(
        f"the database {mask_url(url)} does not answer ({first_line(error)}); start it, correct "
        f"{STORAGE_VARIABLE}, or unset it for the embedded Postgres"
    )


def _refused(error: Exception, url: str) -> StorageError:
    return StorageError(
        f"the database {mask_url(url)} refused the work ({first_line(error)}); check user, "
        f"password and rights in {STORAGE_VARIABLE}"
    )
