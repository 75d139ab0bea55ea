"""A process that does what a test has written down."""

from collections.abc import Sequence


def execute(code: str, arguments: Sequence[str]) -> int:
    """Run `code`, which finds the process's `arguments`; 0 unless it exits with another code."""
    exec(code, {"arguments": arguments})
    return 0
