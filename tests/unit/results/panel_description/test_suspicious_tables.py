import io

import pytest
from rich.console import Console, Group

from atft_hpo.data.suspicious.findings import Example, Finding, SplitDay, SuspiciousPrices
from atft_hpo.results.console import print_whole
from atft_hpo.results.panel_description.suspicious_tables import suspicious_tables

NONE = Finding(count=0, share=0.0, worst=())


def finding(count, share, *worst):
    examples = [Example(date=d, code=c, size=s, note=n) for d, c, s, n in worst]
    return Finding(count=count, share=share, worst=tuple(examples))


CLEAN = SuspiciousPrices(
    reversals=NONE, unadjusted_splits=NONE, split_days=(), extreme_returns=NONE,
    thin_days=NONE, stale_runs=NONE, untraded_changes=None,
)  # fmt: skip
SPOILT = SuspiciousPrices(
    reversals=finding(1, 1e-6, ("2019-02-04", "130A", -0.6, "")),
    unadjusted_splits=finding(12, 0.0017, *[("2019-08-01", "1300", -0.802, "5:1")] * 5),
    split_days=(
        SplitDay(date="2019-08-01", ratio="5:1", count=11),
        SplitDay(date="2019-08-02", ratio="2:1", count=1),
    ),
    extreme_returns=finding(1, 1e-6, ("2017-11-06", "7846", 78.890319, "")),
    thin_days=finding(1, 0.004, ("2020-10-01", None, 0.97, "no trades")),
    stale_runs=finding(1234567, 0.01, ("2014-06-26", "LONGCODE.X", 669, "")),
    untraded_changes=finding(82, 0.0001, ("2017-03-29", "8919", 1.544, "")),
)


def shown(found, treatment="keep"):
    stream = io.StringIO()
    print_whole(Console(width=80, file=stream), Group(*suspicious_tables(found, treatment)))
    return stream.getvalue()


def test_every_kind_stands_with_count_and_worst_within_80_columns():
    text = shown(SPOILT)
    for words in (
        "reversed next day", "2019-02-04 130A -60.0%",
        "unadjusted split", "2019-08-01: 11 stocks 5:1", "2019-08-01 1300 -80.2% 5:1",
        "other extreme return", "2017-11-06 7846 ×79.9",
        "most stocks missing", "2020-10-01 97%, no trades",
        "stale closes", "1,234,567", "2014-06-26 LONGCODE.X 669 rows",
        "changed at volume 0", "2017-03-29 8919 +154.4%",
    ):  # fmt: skip
        assert words in text
    assert "2019-08-02" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("treatment", "words"),
    [("keep", 'suspicious_prices = "mask_label"'), ("mask_label", "are left")],
)
def test_what_the_panel_does_about_it_is_said(treatment, words):
    assert words in " ".join(shown(SPOILT, treatment).split())


def test_kinds_that_are_listed_only_need_no_treatment():
    harmless = CLEAN.model_copy(update={"thin_days": SPOILT.thin_days})
    assert "mask_label" not in shown(harmless)
    assert "reversed" not in shown(harmless)


def test_clean_prices_and_no_prices_are_one_line():
    assert shown(CLEAN) == "No suspicious prices.\n"
    assert "no closes" in shown(None)
