"""Date, code and sector of a table's rows, read the same way whatever the table holds besides.

keys = RowKeys(taken(sources), config.date_format)
for batch in batches: keys.add(batch, file)        # batches with the columns of keys.asked
found = keys.read(progress)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atft_hpo.data.ingest.values.arrow_values import (
    Vocabulary,
    code_text,
    codes_of,
    names_of,
    sector_text,
)
from atft_hpo.data.ingest.values.dates import DateColumn
from atft_hpo.progress import Progress


@dataclass(frozen=True)
class Keys:
    """Of R rows in the order of the files."""

    dates: NDArray[np.datetime64]
    """[D] ascending."""
    codes: tuple[str, ...]
    """[N] ascending."""
    day_R: NDArray[np.int32]
    stock_R: NDArray[np.int32]
    sector_names: tuple[str, ...]
    """Ascending; empty without a sector column."""
    sector_R: NDArray[np.int32]
    """Indices into `sector_names`; -1 where there is none."""


class RowKeys:
    """Keys that come in batches."""

    def __init__(self, columns: Mapping[str, str], date_format: str | None) -> None:
        """`columns`: meaning → column of the input, which errors name."""
        self.asked = [name for name in ("date", "code", "sector") if name in columns]
        """Columns that batches must have."""
        self._columns = columns
        self._dates = DateColumn(columns["date"], date_format)
        self._codes, self._sectors = Vocabulary(code_text), Vocabulary(sector_text)
        self._code_parts: list[NDArray[np.int32]] = []
        self._sector_parts: list[NDArray[np.int32]] = []

    def add(self, batch: pa.RecordBatch, file: Path) -> None:
        """The next rows.

        Raises:
            DataError: a date or a code is null, or a column is of a type that holds none.
        """
        self._dates.add(batch.column("date"), file)
        code = codes_of(batch.column("code"), self._codes, self._columns["code"], file)
        self._code_parts.append(code)
        if "sector" in self.asked:
            sector = batch.column("sector")
            found = names_of(sector, self._sectors, self._columns["sector"], file)
            self._sector_parts.append(found)

    def read(self, progress: Progress) -> Keys:
        """All keys; says what had to be decided about dates.

        Raises:
            DataError: a date that cannot be read for certain.
        """
        of_row_R = self._dates.days()
        for line in self._dates.said:
            progress(line)
        first = int(of_row_R.min())
        there = np.zeros(int(of_row_R.max()) - first + 1, dtype=np.bool_)
        there[of_row_R - first] = True
        number_of = np.cumsum(there, dtype=np.int32) - 1
        codes, stock_R = self._codes.ascending(np.concatenate(self._code_parts))
        unknown = [np.full(len(stock_R), -1, dtype=np.int32)]
        sectors, sector_R = self._sectors.ascending(np.concatenate(self._sector_parts or unknown))
        return Keys(
            dates=(np.flatnonzero(there) + first).astype("datetime64[D]"),
            codes=codes,
            day_R=number_of[of_row_R - first],
            stock_R=stock_R,
            sector_names=sectors,
            sector_R=sector_R,
        )
