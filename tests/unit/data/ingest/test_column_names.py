"""Spellings of real sources, and what is not taken."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atft_hpo.config.data_schema import ColumnMeaning
from atft_hpo.data.ingest.column_names import (
    SPLIT_CONVENTIONS,
    key_of,
    meaning_of,
    recognise,
)
from atft_hpo.errors import DataError

MEANINGS = get_args(ColumnMeaning)

FILE = Path("a.csv")
PLAIN = ("date", "code", "open", "high", "low", "close", "volume")


def taken(names: str, **said: str) -> dict[str, str]:
    return recognise(names.split(","), said, MEANINGS, FILE)


SOURCES = {
    "yfinance": ("Date,Ticker,Open,High,Low,Close,Volume", {}),
    "yfinance, not adjusted": (
        "Date,Symbol,Open,High,Low,Close,Volume,Adj Close,Dividends,Stock Splits",
        {"adj_close": "Adj Close", "split_factor": "Stock Splits"},
    ),
    "J-Quants": (
        "Date,Code,Open,High,Low,Close,Volume,UpperLimit,LowerLimit,TurnoverValue,AdjustmentFactor,"
        "AdjustmentOpen,AdjustmentHigh,AdjustmentLow,AdjustmentClose,AdjustmentVolume",
        {
            "adj_close": "AdjustmentClose", "adj_open": "AdjustmentOpen",
            "adj_high": "AdjustmentHigh", "adj_low": "AdjustmentLow",
            "adj_volume": "AdjustmentVolume", "traded_value": "TurnoverValue",
            "split_factor": "AdjustmentFactor",
        },
    ),
    "Stooq": ("<DATE>,<TICKER>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<PER>,<TIME>,<OPENINT>", {}),
    "Alpha Vantage": (
        "timestamp,symbol,1. open,2. high,3. low,4. close,6. volume,5. adjusted close,"
        "7. dividend amount,8. split coefficient",
        {
            "adj_close": "5. adjusted close",
            "split_factor": "8. split coefficient",
        },
    ),
    "Tiingo": (
        "date,ticker,open,high,low,close,volume,adjClose,adjOpen,adjHigh,adjLow,adjVolume,divCash,"
        "splitFactor",
        {
            "adj_close": "adjClose", "adj_open": "adjOpen", "adj_high": "adjHigh",
            "adj_low": "adjLow", "adj_volume": "adjVolume",
            "split_factor": "splitFactor",
        },
    ),
    "CRSP": ("date,PERMNO,OPENPRC,ASKHI,BIDLO,PRC,VOL,CFACPR,RET", {"split_factor": "CFACPR"}),
    "Qlib": ("datetime,instrument,$open,$high,$low,$close,$volume,$change,$factor", {}),
    "Kaggle": ("date,Name,open,high,low,close,volume", {}),
    "Sharadar": (
        "date,ticker,open,high,low,close,volume,closeadj,closeunadj,lastupdated",
        {"adj_close": "closeadj"},
    ),
    "Nasdaq": ("Date,Symbol,Open,High,Low,Close/Last,Volume", {}),
    "EODHD": (
        "Date,Code,Open,High,Low,Close,Volume,Adjusted_close", {"adj_close": "Adjusted_close"},
    ),
    "Japanese": ("日付,銘柄コード,始値,高値,安値,終値,出来高", {}),
    "capitals": (
        "TRADE_DATE,LOCAL-CODE,OPEN,HIGH,LOW,CLOSE,VOL.,GICS Sector", {"sector": "GICS Sector"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_columns_of_people_s_sources_are_taken_for_what_they_are(source):
    names, more = SOURCES[source]
    plain = dict(zip(PLAIN, names.split(","), strict=False))
    assert taken(names) == plain | more


@given(st.sampled_from(MEANINGS), st.sampled_from([" ", "_", "-", ".", ""]), st.randoms())
def test_case_and_marks_do_not_matter(meaning, mark, random):
    name = "".join(random.choice([c.upper(), c]) for c in meaning.replace("_", mark))
    assert meaning_of(name) == meaning


@pytest.mark.parametrize(
    "name",
    ["close_time", "open_interest", "openint", "volume_ratio", "prev_close", "previousclose",
     "high_52w", "low_limit", "turnover", "value", "adjustment", "date_of_birth", "close_2",
     "returns__1d", "sector_return", "last", "country"],
)  # fmt: skip
def test_what_only_looks_alike_is_not_taken(name):
    assert meaning_of(name) is None
    assert taken(f"{name},x") == {}


@pytest.mark.parametrize(
    ("names", "both"),
    [
        ("Date,date", "'Date' and 'date' may both be 'date'"),
        ("trade_date,timestamp", "'trade_date' and 'timestamp'"),
        ("ticker,PERMNO", "'ticker' and 'PERMNO' may both be 'code'"),
        ("Adj Close,adjusted_close", "'Adj Close' and 'adjusted_close' may both be 'adj_close'"),
        ("Sector17Code,Sector33Code", "'Sector17Code' and 'Sector33Code'"),
        ("vol,Volume", "'vol' and 'Volume'"),
    ],
)
def test_two_candidates_are_an_error_that_names_both_unless_one_is_said(names, both):
    with pytest.raises(DataError, match=r"a\.csv: ") as caught:
        taken(names)
    assert both in str(caught.value)
    assert "data.columns." in str(caught.value)
    first, second = names.split(",")
    meaning = meaning_of(first)
    assert taken(names, **{meaning: second})[meaning] == second


def test_a_name_that_says_less_counts_where_no_better_one_is():
    assert taken("ticker,name,isin")["code"] == "ticker"
    assert taken("name,x")["code"] == "name"
    assert taken("sector,industry")["sector"] == "sector"
    assert taken("industry,x")["sector"] == "industry"
    with pytest.raises(DataError, match="'isin' and 'name'"):
        taken("isin,name")


def test_what_is_said_counts_and_is_free_for_nothing_else():
    assert taken("close,Close price", close="Close price") == {"close": "Close price"}
    assert taken("adj_close,px", close="adj_close") == {"close": "adj_close"}
    assert taken("adj_close,close", adj_close="") == {"close": "close"}
    with pytest.raises(DataError, match=r"no column 'clos', which data\.columns\.close says; did"):
        taken("close,x", close="clos")


def test_some_meanings_have_only_their_own_name_where_others_may_be_features():
    names = ["amount", "Traded Value", "price"]
    found = recognise(names, {}, ["traded_value", "close"], FILE, ["traded_value", "close"])
    assert found == {"traded_value": "Traded Value"}


def test_conventions_of_splits_are_known_by_spellings_of_split_factor():
    assert {meaning_of(key) for key in SPLIT_CONVENTIONS} == {"split_factor"}
    assert SPLIT_CONVENTIONS[key_of("Stock Splits")] == "shares"
    assert SPLIT_CONVENTIONS[key_of("AdjustmentFactor")] == "price"
    assert SPLIT_CONVENTIONS[key_of("CFACPR")] == "cumulative"
