"""optuna-dashboard on the study's own database.

It has no authentication and can delete everything, so it binds loopback unless told otherwise. The
storage is the cached one: a refresh with 2,000 trials takes a second instead of ten.
"""

import signal
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard

from atft_hpo.errors import ConfigError
from atft_hpo.progress import Progress
from atft_hpo.service.database.connection import Database, durable_optuna_storage

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def make_dashboard(database: Database, host: str, port: int) -> WSGIServer:
    """A bound server (port 0 takes a free one); its `serve_forever` answers.

    Raises:
        ConfigError: host and port cannot be bound.
        StorageError: the database does not answer.
    """
    app = optuna_dashboard.wsgi(durable_optuna_storage(database))
    try:
        return make_server(host, port, app, _ThreadedServer, _QuietHandler)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be bound ({error.strerror}); choose another --port"
        ) from error


def serve(database: Database, host: str, port: int, say: Progress) -> None:
    """Serve until SIGINT or SIGTERM."""
    with make_dashboard(database, host, port) as server:
        say(f"optuna-dashboard on http://{host}:{server.server_port}/ (Ctrl-C ends it)")
        if host not in LOOPBACK:
            say("warning: it has no authentication; whoever reaches it can delete studies")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
