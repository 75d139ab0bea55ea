"""The terminal of a benchmark, or the file that stands for one."""

from rich.console import Console


def wide_console(width: int = 120) -> Console:
    """A console that is `width` columns wide where there is no terminal to tell.

    In a file no column of a table need be broken.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = width
    return console
