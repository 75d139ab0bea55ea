"""Lines and tables on a terminal of any width, or in a pipe: nothing is cut off."""

from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Column, Table

_NO_LIMIT = 10_000


def say(console: Console, line: str) -> None:
    """A line as it is: not broken inside a path or a command, which may be pasted."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def number_columns(*heads: str) -> list[Column]:
    """Columns that keep their digits together: where it is narrow, names give way."""
    return [Column(head, justify="right", no_wrap=True) for head in heads]


def print_whole(console: Console, shown: Table | Group) -> None:
    """Tables with every cell in full; a terminal that is narrower wraps their lines."""
    if isinstance(shown, Group):
        for part in shown.renderables:
            if isinstance(part, Table):
                print_whole(console, part)
            else:
                console.print(part)
        return
    table = shown
    free = console.options.update(max_width=_NO_LIMIT)
    width, needed = console.width, Measurement.get(console, free, table).maximum
    if needed <= width:
        console.print(table)
        return
    console.width = needed
    console.print(table)
    console.width = width
