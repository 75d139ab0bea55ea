"""How long functions of a module take, while something else calls them.

with Stopwatch(loop, "write_tables", "save_checkpoint") as writing:
    run_phases(...)                     # writing.lap() in between: seconds since the last look
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any, Self
from unittest.mock import patch


class Stopwatch:
    """Runs while one of the functions does; they must not call each other."""

    def __init__(self, module: ModuleType, *names: str) -> None:
        """`names` are looked up in `module`, where they may come from elsewhere."""
        self._patches = [
            patch.object(module, name, self._timed(getattr(module, name))) for name in names
        ]
        self._stack = ExitStack()
        self._seconds = 0.0

    def lap(self) -> float:
        """Seconds since it was last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def __enter__(self) -> Self:
        for change in self._patches:
            self._stack.enter_context(change)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            started = time.monotonic()
            try:
                return function(*given, **named)
            finally:
                self._seconds += time.monotonic() - started

        return timed
