"""Names in columns of any type: numbers of them, or one clear refusal."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from atft_hpo.data.ingest.values.arrow_values import Vocabulary, names_of, sector_text
from atft_hpo.errors import DataError

FILE = Path("prices.parquet")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["Banks", None, " Retail "], ["Banks", None, "Retail"]),
        ([33, None, 50], ["33", None, "50"]),
        ([33.0, float("nan"), 50.5], ["33", None, "50.5"]),
        ([float("inf"), 1.0], ["inf", "1"]),
        ([Decimal("33.00"), None], ["33", None]),
        ([True, False], ["1", "0"]),
        ([None, None], [None, None]),
    ],
)
def test_names_are_texts_or_numbers(values: list[object], words: list[str | None]) -> None:
    found = Vocabulary(sector_text)
    numbers = names_of(pa.array(values), found, "sector", FILE)
    assert [found.words[n] if n >= 0 else None for n in numbers] == words


@pytest.mark.parametrize(
    "value",
    [dt.date(2020, 1, 6), dt.datetime(2020, 1, 6), dt.time(9), dt.timedelta(1), ["a"], {"a": 1},
     b"\xff\xfe"],
)  # fmt: skip
def test_what_holds_no_names_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"prices\.parquet: column 'Sector' is .*expected names"):
        names_of(pa.array([value, value]), Vocabulary(sector_text), "Sector", FILE)
