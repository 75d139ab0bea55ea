"""Arrow columns as numpy arrays: dates, texts as numbers, flags, floats."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atft_hpo.errors import DataError


class Vocabulary:
    """Numbers for texts in the order they come; sorted at the end."""

    def __init__(self) -> None:
        self._number_of: dict[str, int] = {}

    def encode(self, column: pa.Array) -> NDArray[np.int32]:
        """Numbers of a batch's values, -1 for null."""
        encoded = pc.cast(column, pa.string()).dictionary_encode()
        words = encoded.dictionary.to_pylist()
        numbers = [self._number_of.setdefault(w, len(self._number_of)) for w in words]
        places: NDArray[np.int32] = np.asarray(pc.fill_null(encoded.indices, len(words)))
        return np.array([*numbers, -1], dtype=np.int32)[places]

    def ascending(self, numbers: NDArray[np.int32]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """The texts in ascending order, and the numbers that fit them."""
        words = sorted(self._number_of)
        new = np.empty(len(words) + 1, dtype=np.int32)
        new[[self._number_of[w] for w in words]] = np.arange(len(words))
        new[-1] = -1
        return tuple(words), new[numbers]


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type can be a feature."""
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def dates_of(column: pa.Array, file: Path) -> NDArray[np.int32]:
    """Days since 1970-01-01.

    Raises:
        DataError: a value is null or no date.
    """
    try:
        days = pc.cast(column, pa.date32(), safe=False)
    except pa.ArrowException as error:
        example = next((v.as_py() for v in column if v.is_valid), None)
        raise DataError(
            f"{file}: column 'date' holds {example!r} ({column.type}), which is not a date; "
            "expected a date, a timestamp or text such as 2020-01-31"
        ) from error
    return np.asarray(without_null(days, "date", file).cast(pa.int32()))


def without_null(column: pa.Array, name: str, file: Path) -> pa.Array:
    """The column, refused when a value is null."""
    if column.null_count:
        raise DataError(f"{file}: column {name!r} is null in {column.null_count} row(s)")
    return column


def flags_of(column: pa.Array, name: str, file: Path) -> NDArray[np.bool_]:
    """Booleans, null = False; refused when the column is neither boolean nor integer."""
    if not (pa.types.is_boolean(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{file}: column {name!r} is {column.type}; expected boolean")
    filled = pc.fill_null(pc.cast(column, pa.bool_()), False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.bool_)


def numbers_of(column: pa.Array, kind: pa.DataType) -> NDArray[Any]:
    """Floats of `kind`, null = NaN."""
    if column.type != kind:
        column = pc.cast(column, kind, safe=False)
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(np.nan, kind))
    return np.asarray(column)
