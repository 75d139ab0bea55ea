"""A column of numbers that comes in batches, from files that hold it in different types.

    column = NumberColumn("close")
    for batch in batches: column.add(batch.column("close"), file)
    x_R = column.values()               # float64, NaN where absent

Texts wait until the whole column has been seen: only then is it known what a comma means.
"""

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
from atft_hpo.data.ingest.values.number_texts import NumberTexts, parse
from atft_hpo.errors import DataError


class NumberColumn:
    """The numbers of a column."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts: list[NDArray[np.float64] | pa.Array] = []
        self._texts = NumberTexts()

    def add(self, column: pa.Array, file: Path) -> None:
        """The next rows.

        Raises:
            DataError: the column's type holds no numbers.
        """
        kind = value_type(column)
        if is_text(kind):
            texts = decoded(column).cast(pa.string())
            self._texts.see(texts, file)
            self._parts.append(texts)
        elif is_number(kind) or pa.types.is_null(kind):
            self._parts.append(numbers_of(column, pa.float64()))
        else:
            raise DataError(f"{file}: column {self._name!r} is {kind}; expected numbers")

    def values(self) -> NDArray[np.float64]:
        """All rows in the order they were added.

        Raises:
            DataError: texts that are no numbers, or not for certain; names file and example.
        """
        if problem := self._texts.problem():
            file, what = problem
            raise DataError(
                f"{file}: column {self._name!r} holds {what}; expected numbers, written in one way"
            )
        style = self._texts.style()
        parts = [
            part if isinstance(part, np.ndarray) else numbers_of(parse(part, style), pa.float64())
            for part in self._parts
        ]
        self._parts = []
        return np.concatenate([np.empty(0), *parts])
