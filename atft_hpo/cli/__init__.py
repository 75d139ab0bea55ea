"""The command line: arguments become one call each; nothing heavy is imported for a help page.

Errors raised on purpose are one line on stderr and an exit code (see `errors`); `--debug` shows
their traceback too.
"""

from atft_hpo.cli.app import main

__all__ = ["main"]
