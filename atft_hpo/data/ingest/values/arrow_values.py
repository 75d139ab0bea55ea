"""Arrow columns of any type as numpy arrays: texts as numbers, flags, floats."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atft_hpo.errors import DataError

UNKNOWN_WORDS = frozenset({"", "nan", "none", "null", "nat", "<na>"})
"""What libraries write for a missing text."""
_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0", *UNKNOWN_WORDS})
_WHOLE = re.compile(r"-?\d+\.0+")


def plain_text(value: Any) -> str | None:
    """A value as text, exactly as given; a whole number without a point: 1301.0 is "1301"."""
    if value is None or (not isinstance(value, str) and value != value):
        return None
    if isinstance(value, str):
        return value
    if math.isinf(value):
        return str(value)
    return str(int(value)) if value == int(value) else str(value)


def code_text(value: Any) -> str | None:
    """The code of a stock: text exactly as given, leading zeros and all; None where absent."""
    text = plain_text(value)
    return text if text and not text.isspace() else None


def sector_text(value: Any) -> str | None:
    """The name of a sector, so that 33, 33.0 and "33" are one; None where absent."""
    text = (plain_text(value) or "").strip()
    if text.lower() in UNKNOWN_WORDS:
        return None
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


class Vocabulary:
    """Numbers for texts in the order they come; sorted at the end."""

    def __init__(self, word_of: Callable[[Any], str | None] = plain_text) -> None:
        self._number_of: dict[str, int] = {}
        self._word_of = word_of

    @property
    def words(self) -> list[str]:
        """By number."""
        return list(self._number_of)

    def encode(self, column: pa.Array) -> NDArray[np.int32]:
        """Numbers of a batch's values, -1 for null."""
        encoded = column if pa.types.is_dictionary(column.type) else _encodable(column)
        numbers = [self._number(self._word_of(v)) for v in encoded.dictionary.to_pylist()]
        places: NDArray[np.int32] = np.asarray(
            pc.fill_null(pc.cast(encoded.indices, pa.int32()), len(numbers))
        )
        return np.array([*numbers, -1], dtype=np.int32)[places]

    def ascending(self, numbers: NDArray[np.int32]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """The texts in ascending order, and the numbers that fit them."""
        words = sorted(self._number_of)
        new = np.empty(len(words) + 1, dtype=np.int32)
        new[[self._number_of[w] for w in words]] = np.arange(len(words))
        new[-1] = -1
        return tuple(words), new[numbers]

    def _number(self, word: str | None) -> int:
        return -1 if word is None else self._number_of.setdefault(word, len(self._number_of))


def _encodable(column: pa.Array) -> pa.DictionaryArray:
    kind = column.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind) or pa.types.is_null(kind):
        column = pc.cast(column, pa.string())
    return column.dictionary_encode()


def value_type(column: pa.Field | pa.Array) -> pa.DataType:
    """The type of the values, also of a dictionary's."""
    kind = column.type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Text of any layout."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type can be a feature."""
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def decoded(column: pa.Array) -> pa.Array:
    """The values themselves, where a dictionary holds them."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def names_of(column: pa.Array, names: Vocabulary, name: str, file: Path) -> NDArray[np.int32]:
    """Numbers of names, -1 for absent ones.

    Raises:
        DataError: the column holds no texts or numbers.
    """
    kind = value_type(column)
    if not (is_text(kind) or is_number(kind) or pa.types.is_null(kind)):
        raise DataError(f"{file}: column {name!r} is {kind}; expected names as text or numbers")
    return names.encode(column)


def codes_of(column: pa.Array, codes: Vocabulary, name: str, file: Path) -> NDArray[np.int32]:
    """Numbers of codes.

    Raises:
        DataError: a code is null or empty, or the column holds no texts or numbers.
    """
    numbers = names_of(column, codes, name, file)
    if absent := int(np.count_nonzero(numbers < 0)):
        raise DataError(f"{file}: column {name!r} is null in {absent:,} row(s)")
    return numbers


def flags_of(column: pa.Array, name: str, file: Path) -> NDArray[np.bool_]:
    """Booleans, null = False.

    Raises:
        DataError: the column is neither boolean nor 0 and 1, as numbers or as text.
    """
    column = decoded(column)
    if pa.types.is_null(column.type):
        return np.zeros(len(column), dtype=np.bool_)
    if is_text(column.type):
        column = _flag_words(column, name, file)
    if not is_number(column.type) or pa.types.is_decimal(column.type):
        raise DataError(f"{file}: column {name!r} is {column.type}; expected boolean")
    if not pa.types.is_boolean(column.type):
        column = _zero_or_one(column, name, file)
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _flag_words(column: pa.Array, name: str, file: Path) -> pa.Array:
    words = Vocabulary()
    numbers = words.encode(column)
    truth = []
    for word in (w.strip().lower() for w in words.words):
        if word not in _TRUE | _FALSE:
            raise DataError(f"{file}: column {name!r} holds {word!r}; expected true or false")
        truth.append(word in _TRUE)
    return pa.array(np.array([*truth, False])[numbers])


def _zero_or_one(column: pa.Array, name: str, file: Path) -> pa.Array:
    values = np.nan_to_num(numbers_of(column, pa.float64()))
    if (wrong := (values != 0) & (values != 1)).any():
        raise DataError(
            f"{file}: column {name!r} holds {values[wrong][0]:g}; expected boolean, or 0 and 1"
        )
    return pa.array(values == 1)


def numbers_of(column: pa.Array, kind: pa.DataType) -> NDArray[Any]:
    """Floats of `kind`, null = NaN."""
    column = decoded(column)
    if column.type != kind:
        column = pc.cast(column, kind, safe=False)
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(np.nan, kind))
    return np.asarray(column)


def words_in(column: pa.Array) -> Iterator[str]:
    """The distinct texts of a column, null left out."""
    found = Vocabulary()
    found.encode(column)
    return iter(found.words)
