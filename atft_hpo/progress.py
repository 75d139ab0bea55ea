"""Telling a person how far long work is, one line at a time.

    def build(table: Path, progress: Progress = silent) -> None: ...

Work says lines and does not know where they go: to a terminal, a log, a test's list, nowhere.
"""

from collections.abc import Callable

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Progress nobody reads."""
