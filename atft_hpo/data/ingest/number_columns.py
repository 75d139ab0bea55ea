"""Which columns of a table are numbers, also where they are written as text; and plain copies.

    numbers = NumberColumns(sources, names)       # numbers.names: what is a number in every file
    sources = plain_copies(sources, numbers, folder)

Features are read many times, some columns at a time: a file that does not allow that is copied
once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from atft_hpo.data.ingest.sources import Source
from atft_hpo.data.ingest.values.arrow_values import (
    decoded,
    is_number,
    is_text,
    numbers_of,
    value_type,
)
from atft_hpo.data.ingest.values.number_texts import (
    NumberTexts,
    Style,
    convention,
    parse,
)
from atft_hpo.errors import DataError

_NUMBERS_SHARE = 0.5
"""A text column of which more are numbers was meant to be one."""


class NumberColumns:
    """The columns that are numbers, in every file of a table."""

    def __init__(self, sources: Sequence[Source], names: Sequence[str]) -> None:
        """Texts among `names` are read once, and rows of the first file's first batch.

        Raises:
            DataError: a column is a number in some files only, or texts cannot be understood.
        """
        types = [{field.name: value_type(field) for field in source.schema} for source in sources]
        kinds = {name: [of[name] for of in types if name in of] for name in names}
        texts = [n for n, found in kinds.items() if any(is_text(kind) for kind in found)]
        self.styles: dict[str, Style] = _styles(sources, texts)
        """What a comma means in columns of numbers that are written as text."""
        found = [name for name in names if name in self.styles
                 or (name not in texts and any(map(is_number, kinds[name])))]  # fmt: skip
        for name in found:
            for source, of in zip(sources, types, strict=True):
                _refuse_other_type(source, of, name, name in self.styles)
        indices = set(_row_numbers(sources[0], found))
        self.names = [name for name in found if name not in indices]


def plain_copies(
    sources: tuple[Source, ...], numbers: NumberColumns, folder: Path
) -> tuple[Source, ...]:
    """Sources with plain numbers that can be read by columns: themselves, or copies in `folder`.

    Raises:
        DataError: a file cannot be read.
    """
    return tuple(
        _copy(source, numbers, folder / f"{number}.parquet")
        if _is_rough(source, numbers)
        else source
        for number, source in enumerate(sources)
    )


def _refuse_other_type(
    source: Source, types: Mapping[str, pa.DataType], name: str, texts: bool
) -> None:
    if name not in types:
        raise DataError(
            f"{source.path}: no column {name!r}, a feature in other files; expected the same "
            "features in every file"
        )
    kind = types[name]
    if not (is_number(kind) or pa.types.is_null(kind) or (texts and is_text(kind))):
        raise DataError(f"{source.path}: column {name!r} is {kind}; other files have numbers")


def _styles(sources: Sequence[Source], names: Sequence[str]) -> dict[str, Style]:
    """How numbers are written, of those text columns that hold numbers."""
    found = {name: NumberTexts() for name in names}
    for source in sources:
        here = [n for n in names if n in source.schema.names
                and is_text(value_type(source.schema.field(n)))]  # fmt: skip
        if not here:
            continue
        with source.opened() as content:
            for batch in content.batches(here):
                for name in here:
                    found[name].see(decoded(batch.column(name)).cast(pa.string()), source.name)
    styles: dict[str, Style] = {}
    hint = convention(found.values())
    for name, texts in found.items():
        problem = texts.problem(hint)
        if problem is None:
            styles |= {name: texts.style(hint)} if texts.values else {}
        elif texts.numbers > _NUMBERS_SHARE * texts.values:
            file, what = problem
            raise DataError(
                f"{file}: column {name!r} holds {what}; expected numbers, written in one way, or "
                "no numbers at all: mend or remove the column"
            )
    return styles


def _row_numbers(source: Source, names: Sequence[str]) -> Iterator[str]:
    """Columns that count the rows from 0 or 1: an index that was saved."""
    whole = [name for name in names if _may_count(value_type(source.schema.field(name)))]
    if not whole:
        return
    with source.opened() as content:
        batch = next(content.batches(whole), None)
    if batch is None or batch.num_rows < 2:
        return
    for name in whole:
        column = decoded(batch.column(name))
        try:
            values = np.asarray(column.cast(pa.int64()).fill_null(-1))
        except pa.ArrowInvalid:
            continue
        if values[0] in (0, 1) and np.array_equal(values, values[0] + np.arange(len(values))):
            yield name


def _may_count(kind: pa.DataType) -> bool:
    return is_text(kind) or bool(pa.types.is_integer(kind))


def _is_rough(source: Source, numbers: NumberColumns) -> bool:
    """Whether a file cannot be read by columns, or holds numbers as text."""
    with source.opened() as content:
        if not content.file.by_columns or content.file.is_melted:
            return True
    return any(is_text(value_type(source.schema.field(name))) for name in numbers.styles)


def _copy(source: Source, numbers: NumberColumns, path: Path) -> Source:
    """A copy with narrow columns as they are and features as float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    narrow = [n for n in source.schema.names if n not in numbers.names]
    types = [(n, value_type(source.schema.field(n))) for n in narrow]
    schema = pa.schema([*types, *((n, pa.float32()) for n in numbers.names)])
    with source.opened() as content, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in content.file.batches(schema.names):
            columns = [decoded(batch.column(name)) for name in narrow]
            columns += [
                _plain(batch.column(name), numbers.styles.get(name)) for name in numbers.names
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return replace(source, path=path, schema=schema, given=source.path)


def _plain(column: pa.Array, style: Style | None) -> pa.Array:
    if style is not None and is_text(value_type(column)):
        column = parse(decoded(column).cast(pa.string()), style)
    return pa.array(numbers_of(column, pa.float32()))
