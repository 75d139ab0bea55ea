"""A column of numbers that comes in batches, from files that hold it in different types.

    column = NumberColumn("close")
    for batch in batches: column.add(batch.column("close"), file)
    x_R = column.values()               # float64, NaN where absent

Texts wait until the whole column has been seen: only then is it known what a comma means.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atft_hpo.data.ingest.values.arrow_values import (
    decoded,
    is_number,
    is_text,
    numbers_of,
    value_type,
)
from atft_hpo.data.ingest.values.number_texts import NumberTexts, Style, convention, parse
from atft_hpo.errors import DataError


class NumberColumn:
    """The numbers of a column."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts: list[NDArray[np.float64] | pa.Array] = []
        self.texts = NumberTexts()
        """What its texts look like."""

    def add(self, column: pa.Array, file: Path) -> None:
        """The next rows.

        Raises:
            DataError: the column's type holds no numbers.
        """
        kind = value_type(column)
        if is_text(kind):
            texts = decoded(column).cast(pa.string())
            self.texts.see(texts, file)
            self._parts.append(texts)
        elif is_number(kind) or pa.types.is_null(kind):
            self._parts.append(numbers_of(column, pa.float64()))
        else:
            raise DataError(f"{file}: column {self._name!r} is {kind}; expected numbers")

    def values(self, hint: Style | None = None) -> NDArray[np.float64]:
        """All rows in the order they were added.

        Args:
            hint: what a comma means in the table's other columns, if this one does not tell.

        Raises:
            DataError: texts that are no numbers, or not for certain; names file and example.
        """
        if problem := self.texts.problem(hint):
            file, what = problem
            raise DataError(
                f"{file}: column {self._name!r} holds {what}; expected numbers, written in one "
                "way: save it as numbers, or with a point before decimals and no other mark"
            )
        style = self.texts.style(hint)
        parts = [
            part if isinstance(part, np.ndarray) else numbers_of(parse(part, style), pa.float64())
            for part in self._parts
        ]
        self._parts = []
        return np.concatenate([np.empty(0), *parts])


def all_values(columns: dict[str, NumberColumn]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The values of a table's columns, one after another.

    Raises:
        DataError: see `NumberColumn.values`.
    """
    hint = convention(column.texts for column in columns.values())
    for name, column in columns.items():
        yield name, column.values(hint)
