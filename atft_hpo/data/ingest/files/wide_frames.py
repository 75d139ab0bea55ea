"""The two-level wide frame that a download of several tickers leaves, melted to tidy rows.

    Date        (Close, AAPL)  (Close, MSFT)  (Volume, AAPL) …    or (AAPL, Close) …
    2020-01-02          72.72         153.32       135480400

pandas writes the two levels into Parquet as names like "('Close', 'AAPL')", into CSV as two rows of
headers, with the name of the index in a third. One row per date and ticker comes out; a ticker of
which a date says nothing has none there.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from atft_hpo.data.ingest.column_names import key_of, meaning_of

TICKER = "Ticker"
_PRICES = frozenset({"open", "high", "low", "close", "adj_close", "volume"})


@dataclass(frozen=True)
class Melt:
    """How a wide frame becomes tidy rows."""

    dates: str
    """The column beside the two-level ones."""
    fields: tuple[str, ...]
    """Open, Close, Volume … in the order they come."""
    cells: dict[str, dict[str, str]]
    """Ticker → field → the wide column."""
    schema: pa.Schema
    """Of the tidy rows: dates, Ticker, fields."""

    @property
    def columns(self) -> list[str]:
        """All columns of the wide frame that are read."""
        return [self.dates, *(name for of in self.cells.values() for name in of.values())]

    def rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Tidy rows of some dates, ticker after ticker."""
        table = pa.concat_tables(
            [self._of_ticker(batch, ticker) for ticker in self.cells], promote_options="permissive"
        )
        parts = table.select(self.schema.names).cast(self.schema).combine_chunks().to_batches()
        return parts[0] if parts else pa.RecordBatch.from_pylist([], schema=self.schema)

    def _of_ticker(self, batch: pa.RecordBatch, ticker: str) -> pa.Table:
        columns: dict[str, Any] = {
            self.dates: batch.column(self.dates),
            TICKER: pa.repeat(ticker, batch.num_rows),
        }
        for field, name in self.cells[ticker].items():
            columns[field] = batch.column(name)
        present = reduce(pc.or_, (_present(batch.column(c)) for c in self.cells[ticker].values()))
        return pa.table(columns).filter(present)


def melt_of(schema: pa.Schema) -> Melt | None:
    """How to melt a frame with these columns; None where they are not two-level."""
    pairs = {name: pair for name in schema.names if (pair := _pair(name))}
    others = [name for name in schema.names if name not in pairs]
    dates = [name for name, (first, second) in pairs.items() if "" in (first, second)]
    pairs = {name: pair for name, pair in pairs.items() if name not in dates}
    order = _price_level(list(pairs.values()))
    if order is None or not pairs or not (others or dates):
        return None
    place = next((n for n in [*dates, *others] if meaning_of(_label(n)) == "date"), None)
    place = place or [*dates, *others][0]
    cells: dict[str, dict[str, str]] = {}
    for name, pair in pairs.items():
        cells.setdefault(pair[1 - order], {})[pair[order]] = name
    fields = tuple(dict.fromkeys(pair[order] for pair in pairs.values()))
    types = {f: _common_type([schema.field(of[f]).type for of in cells.values() if f in of])
             for f in fields}  # fmt: skip
    tidy = [(place, schema.field(place).type), (TICKER, pa.string()), *types.items()]
    return Melt(place, fields, cells, pa.schema(tidy))


def header_rows(rows: Sequence[Sequence[str]]) -> tuple[int, list[str]]:
    """How many rows of a CSV are its header, and the names of its columns.

    Names of a two-level header come as pandas writes them into Parquet.
    """
    labels = [cell for row in rows[:2] for cell in row[1:]]
    if not rows[2:] or len(rows[1]) != len(rows[0]) or not labels or not all(labels):
        return 1, list(rows[0])
    pairs = list(zip(rows[0][1:], rows[1][1:], strict=True))
    index_row = key_of(rows[2][0]) != "" and not any(rows[2][1:])
    data_follow = index_row or rows[2][0][:1].isdigit()
    if _price_level(pairs) is None or rows[1][0][:1].isdigit() or not data_follow:
        return 1, list(rows[0])
    dates = rows[2][0] if index_row else "Date"
    return (3 if index_row else 2), [dates, *map(str, pairs)]


def _price_level(pairs: list[tuple[str, str]]) -> int | None:
    """Which of the two levels names prices; None where neither does.

    A ticker may be called LOW or OPEN, and a download may hold columns of no meaning here.
    """
    shares = []
    for level in (0, 1):
        labels = {pair[level] for pair in pairs}
        meanings = [meaning_of(label) for label in labels]
        tidy = not labels or {"date", "code"} & set(meanings)
        priced = not tidy and {"close", "adj_close"} & set(meanings)
        shares.append(sum(m in _PRICES for m in meanings) / len(labels) if priced else 0.0)
    return None if shares[0] == shares[1] else shares.index(max(shares))


def _pair(name: str) -> tuple[str, str] | None:
    """The two labels in "('Close', 'AAPL')"."""
    if not (name.startswith("(") and name.endswith(")")):
        return None
    try:
        found = ast.literal_eval(name)
    except (ValueError, SyntaxError):
        return None
    if not isinstance(found, tuple) or len(found) != 2:
        return None
    return str(found[0]), str(found[1])


def _label(name: str) -> str:
    """The label of an index that was made a column: Date of "('Date', '')"."""
    pair = _pair(name)
    return name if pair is None else pair[0] or pair[1]


def _present(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        return pc.fill_null(pc.invert(pc.is_nan(column)), False)
    return pc.is_valid(column)


def _common_type(kinds: list[pa.DataType]) -> pa.DataType:
    """Of one field over all tickers: prices of some may be whole numbers."""
    return kinds[0] if len(set(kinds)) == 1 else pa.float64()
