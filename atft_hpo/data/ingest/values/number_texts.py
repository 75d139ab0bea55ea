"""Numbers written as text: what a comma means is found out by column, then all are read alike.

    found = NumberTexts()
    for batch in batches: found.see(batch.column("close"))
    style = found.style(...)            # an error with an example where it is not certain
    x = parse(batch.column("close"), style)

"1,140.5" and "1.140,5" are a thousand and more in two conventions; "1,140" alone may be either. A
column is read in the one convention that fits every value of it. Absent are "", "-", "N/A" and
their like.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

ABSENT = (
    "", "-", "--", "---", "—", "–", ".", "N/A", "n/a", "NA", "na", "#N/A", "#N/A N/A", "#NA", "NaN",
    "nan", "NAN", "-nan", "null", "NULL", "Null", "None", "none", "NaT", "<NA>", "nil", "*",
)  # fmt: skip
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
_THOUSANDS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$"
_DECIMAL = r"^[+-]?(\d{1,3}([.\s\x{A0}\x{202F}]\d{3})+|\d+)(,\d+)?$"
_LARGE = r"^[+-]?\d{4}"


class Style(Enum):
    """What a comma means."""

    PLAIN = "no comma"
    THOUSANDS = "between thousands, as in 1,140.5"
    DECIMAL = "before decimals, as in 1140,5"


@dataclass
class _Misfits:
    """Values that a convention does not explain."""

    count: int = 0
    example: str = ""
    file: Path | None = None

    def add(
        self, texts: pa.Array, fits: pa.Array, file: Path, rows: pa.Array | None = None
    ) -> None:
        """`rows`: how often each text occurs; once if None."""
        misfits = pc.invert(fits)
        wrong = texts.filter(misfits)
        if len(wrong) and not self.count:
            self.example, self.file = wrong[0].as_py(), file
        self.count += len(wrong) if rows is None else pc.sum(rows.filter(misfits)).as_py() or 0


class NumberTexts:
    """What the texts of a column look like, batch after batch."""

    def __init__(self) -> None:
        self.values = 0
        """Texts that are not absent."""
        self._no_number = _Misfits()
        self._misfits = {Style.THOUSANDS: _Misfits(), Style.DECIMAL: _Misfits()}
        self._commas, self._small, self._large = _Misfits(), False, False

    def see(self, column: pa.Array, file: Path) -> None:
        """The next texts."""
        if (numbers := _plain_numbers(column)) is not None:
            self._see_plain(column.drop_null(), numbers.drop_null(), file)
            return
        found = _cleaned(column).drop_null().value_counts()
        if not len(found):
            return
        texts, rows = found.field("values"), found.field("counts")
        self.values += pc.sum(rows).as_py()
        plain = pc.match_substring_regex(texts, _PLAIN)
        thousands = pc.or_(plain, pc.match_substring_regex(texts, _THOUSANDS))
        decimal = pc.match_substring_regex(texts, _DECIMAL)
        self._no_number.add(texts, pc.or_(thousands, decimal), file, rows)
        self._misfits[Style.THOUSANDS].add(texts, thousands, file, rows)
        self._misfits[Style.DECIMAL].add(texts, decimal, file, rows)
        without = pc.invert(pc.match_substring(texts, ","))
        self._commas.add(texts, without, file)
        large = pc.sum(pc.match_substring_regex(texts, _LARGE)).as_py()
        self._large |= large > 0
        self._small |= pc.sum(without).as_py() - large > 0

    def _see_plain(self, texts: pa.Array, numbers: pa.Array, file: Path) -> None:
        """Texts that are numbers as they stand: most columns hold nothing else."""
        self.values += len(texts)
        if not (decimal := self._misfits[Style.DECIMAL]).count:  # one is enough
            pointless = pc.invert(pc.match_substring(texts, "."))
            fits = pc.or_(pointless, pc.match_substring_regex(texts, _DECIMAL))
            decimal.add(texts, fits, file)
        large = pc.greater_equal(pc.abs(numbers), 1000)
        self._large |= bool(pc.any(large).as_py())
        self._small |= pc.all(large).as_py() is False

    @property
    def numbers(self) -> int:
        """Texts that are numbers in some convention."""
        return self.values - self._no_number.count

    @property
    def certain(self) -> Style | None:
        """The convention, where this column alone tells; also 1140.5 does."""
        fitting = self._fitting_all
        return fitting[0] if len(fitting) == 1 and not self._no_number.count else None

    def problem(self, hint: Style | None = None) -> tuple[Path | None, str] | None:
        """Why the column cannot be read, with an example and its file; None where it can.

        Args:
            hint: the convention of the table's other columns, for one that does not tell.
        """
        thousands, decimal = self._misfits[Style.THOUSANDS], self._misfits[Style.DECIMAL]
        if wrong := self._no_number.count:
            odd = self._no_number
            return odd.file, f"{wrong:,} text(s) that are no numbers, such as {odd.example!r}"
        if self._fitting(hint) is not None:
            return None
        if thousands.count and decimal.count:
            first, second = thousands.example, decimal.example
            return thousands.file, f"numbers of two conventions, such as {first!r} and {second!r}"
        odd = self._commas
        return (
            odd.file,
            f"{odd.example!r}, whose comma may stand before decimals or between thousands",
        )

    def style(self, hint: Style | None = None) -> Style:
        """The convention; only where there is no `problem`."""
        return self._fitting(hint) or Style.PLAIN

    @property
    def _fitting_all(self) -> list[Style]:
        return [style for style, misfits in self._misfits.items() if not misfits.count]

    def _fitting(self, hint: Style | None) -> Style | None:
        fitting = self._fitting_all
        if not self._commas.count:
            # blanks or points between thousands, "1 140" or "1.140.500", show another convention
            if Style.THOUSANDS in fitting:
                points = hint is Style.DECIMAL and hint in fitting
                return Style.DECIMAL if points else Style.PLAIN
            return Style.DECIMAL if fitting else None
        if len(fitting) < 2:
            return fitting[0] if fitting else None
        # decimals of a fixed number would show a comma everywhere; thousands have one from 1,000 on
        return Style.THOUSANDS if self._small and not self._large else hint


def convention(columns: Iterable[NumberTexts]) -> Style | None:
    """What a comma means in a table: what those of its columns say that tell; None if they differ.

    A table is written in one way: where closes are "712.5", a volume of "64,213" is a large number.
    """
    found = {style for column in columns if (style := column.certain)}
    return found.pop() if len(found) == 1 else None


def parse(column: pa.Array, style: Style) -> pa.Array:
    """float64 of texts whose convention is known; null or NaN where absent."""
    if style is not Style.DECIMAL and (numbers := _plain_numbers(column)) is not None:
        return numbers
    texts = _cleaned(column)
    if style is Style.THOUSANDS:
        texts = pc.replace_substring(texts, ",", "")
    elif style is Style.DECIMAL:
        texts = pc.replace_substring_regex(texts, r"[.\s\x{A0}\x{202F}]", "")
        texts = pc.replace_substring(texts, ",", ".")
    return pc.cast(texts, pa.float64())


def _cleaned(column: pa.Array) -> pa.Array:
    """Without blanks around and a plus before; null where absent."""
    texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    absent = pc.is_in(texts, value_set=pa.array(ABSENT))
    texts = pc.if_else(absent, pa.scalar(None, pa.string()), texts)
    return pc.replace_substring_regex(texts, r"^\+", "")


def _plain_numbers(column: pa.Array) -> pa.Array | None:
    """float64 where every text is a number as it stands, which is found out fastest by trying."""
    try:
        return pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return None
