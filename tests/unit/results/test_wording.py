"""Numbers as text."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.results import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0.0 s"),
        (4.24, "4.2 s"),
        (45.0, "45 s"),
        (187.0, "3 min 07 s"),
        (3600.0, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
        (3 * 86400 + 4 * 3600, "3 d 04 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


@settings(max_examples=200, deadline=None)
@given(st.floats(min_value=0.0, max_value=1e6))
def test_duration_never_shows_sixty(seconds: float) -> None:
    assert " 60 " not in f" {wording.duration(seconds)} "


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (2500, "2.4 KiB"),
        (3_000_000, "2.9 MiB"),
        (5 << 30, "5.00 GiB"),
    ],
)
def test_file_size(size: int, text: str) -> None:
    assert wording.file_size(size) == text


def test_absent_numbers_are_not_zero() -> None:
    assert wording.number(None) == wording.number(math.nan) == "–"
    assert wording.percent(None) == wording.percent(math.nan) == "–"
    assert wording.plus_minus(None, None) == "–"


def test_numbers() -> None:
    assert wording.number(-0.05364) == "-0.0536"
    assert wording.percent(2.0769, 2) == "207.69 %"
    assert wording.plus_minus(0.5, 0.25, 2) == "0.50 ± 0.25"
    assert wording.plus_minus(0.5, None, 2) == wording.plus_minus(0.5, math.nan, 2) == "0.50"


def test_parameters() -> None:
    assert wording.parameter(0.00012345) == "0.0001234"
    assert wording.parameter([4, 2]) == wording.parameter((4, 2)) == "[4, 2]"
    assert wording.parameter(True) == "True"
    assert wording.parameter("lsq") == "lsq"


def test_lists_and_counts() -> None:
    assert wording.listing([]) == ""
    assert wording.listing(["a"]) == "a"
    assert wording.listing(["a", "b", "c"]) == "a, b and c"
    assert wording.plural(1, "trial") == "1 trial"
    assert wording.plural(2000, "trial") == "2,000 trials"


def test_shortened_keeps_one_line() -> None:
    assert wording.shortened("a\n  b") == "a b"
    assert wording.shortened("x" * 130) == "x" * 119 + "…"


def test_labels_fall_back_to_the_name() -> None:
    assert wording.metric_label("rank_ic", 5) == "RankIC, 5 days"
    assert wording.metric_label("loss", 1) == "loss"
    assert wording.phase_label("warm_up") == "Warm up"


def test_markdown_table() -> None:
    assert wording.markdown_table(("a", "b"), [("1", "2")]) == [
        "| a | b |",
        "| --- | ---: |",
        "| 1 | 2 |",
    ]
