"""Which column means what: the spellings of people's sources, or what `data.columns` says.

    taken = recognise(schema.names, config.columns, ("date", "code", "close"), place=file)
    taken["close"]                       # "Close", "5. adjusted close", "$close" …

Spellings are compared as wholes, without case, blanks, underscores, hyphens, points and other
marks: nothing is taken because it looks alike. Two candidates for one meaning are an error that
names both. Names that say less (`name`, `industry`, `time`) count only where no better one is.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from atft_hpo.config.toml import nearest
from atft_hpo.data.ingest.adjustment.split_events import Convention
from atft_hpo.errors import DataError

_SPELLINGS = {
    "date": "date, datetime, trade_date, trading_date, timestamp, date_time, price_date, datadate,"
    " session_date, as_of_date, business_date, bizdate, dlycaldt, caldt, 日付, 年月日",
    "code": "code, ticker, symbol, local_code, stock_code, security_code, sec_code, ts_code,"
    " permno, instrument, ticker_symbol, stock_id, asset_id, sid, tic, gvkey, kypermno, 銘柄コード,"
    " 証券コード, コード",
    "open": "open, open_price, price_open, px_open, openprc, dlyopen, 始値",
    "high": "high, high_price, price_high, px_high, askhi, dlyhigh, 高値",
    "low": "low, low_price, price_low, px_low, bidlo, dlylow, 安値",
    "close": "close, close_price, closing_price, price_close, px_last, close_last, prc, dlyprc,"
    " dlyclose, 終値",
    "volume": "volume, vol, trading_volume, share_volume, traded_volume, volume_traded, px_volume,"
    " total_volume, shares_traded, dlyvol, ttl_trd_qnty, tot_trd_qty, vo, 出来高, 売買高",
    "adj_close": "adj_close, adjusted_close, adjustment_close, close_adj, close_adjusted, adjclose,"
    " adj_close_price, adjusted_closing_price, adj_closing_price, adj_c, adj_prc, closeadj,"
    " split_adjusted_close, 調整後終値, 調整済終値",
    "adj_open": "adj_open, adjusted_open, adjustment_open, open_adj, open_adjusted, adj_o",
    "adj_high": "adj_high, adjusted_high, adjustment_high, high_adj, high_adjusted, adj_h",
    "adj_low": "adj_low, adjusted_low, adjustment_low, low_adj, low_adjusted, adj_l",
    "adj_volume": "adj_volume, adjusted_volume, adjustment_volume, volume_adj, volume_adjusted,"
    " adj_vol, adj_vo",
    "traded_value": "traded_value, turnover_value, trading_value, value_traded, dollar_volume,"
    " amount, turnover_amount, traded_amount, tot_trd_val, 売買代金",
    "split_factor": "split_factor, stock_splits, split, splits, split_ratio, split_coefficient,"
    " adjustment_factor, adj_factor, cfacpr, cumulative_adjustment_factor",
    "sector": "sector, gics, gics_sector, gics_sector_name, gics_sector_code, sector33_code,"
    " sector17_code, sector33_code_name, sector17_code_name, sector_name, sector_code, s33, s33nm,"
    " gsector, 業種, 33業種区分, 33業種コード",
    "alive": "alive",
    "tradable": "tradable",
    "return_1d": "return_1d",
}
_WEAKER = {
    "date": "time, day, dt, t",
    "code": "name, isin, cusip, sedol, figi, ric, asset, security, stock, identifier",
    "open": "o",
    "high": "h",
    "low": "l",
    "close": "price, c, raw_close, unadjusted_close, close_unadj, close_unadjusted",
    "volume": "v",
    "traded_value": "va",
    "sector": "industry, industry_group, gics_industry_group, industry_name, gics_industry",
}
SPLIT_CONVENTIONS: dict[str, Convention] = {
    "splitfactor": "shares", "stocksplits": "shares", "split": "shares", "splits": "shares",
    "splitratio": "shares", "splitcoefficient": "shares",
    "adjustmentfactor": "price", "adjfactor": "price",
    "cfacpr": "cumulative", "cumulativeadjustmentfactor": "cumulative",
}  # fmt: skip
"""What a column of splits counts, by its spelling: `shares` after one share on the day of the split
(2 for 2:1; 0 or 1: none), a multiplier of earlier `price`s (0.5; 1: none), or a `cumulative`
divisor of prices."""
_MARKS = re.compile(r"[\W_]+")
_NUMBERED = re.compile(r"^\s*\d+[a-z]?\.\s+")


@lru_cache(maxsize=1 << 14)
def key_of(name: str) -> str:
    """A name without case, blanks and marks, and without the number before "5. adjusted close"."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return _MARKS.sub("", _NUMBERED.sub("", plain))


def _by_key(spellings: Mapping[str, str]) -> dict[str, str]:
    return {key_of(s): meaning for meaning, said in spellings.items() for s in said.split(",")}


_MEANING_OF, _WEAKER_OF = _by_key(_SPELLINGS), _by_key(_WEAKER)


def meaning_of(name: str) -> str | None:
    """What a name means by a spelling that leaves no doubt."""
    return _MEANING_OF.get(key_of(name))


def candidates(names: Iterable[str], meaning: str) -> list[str]:
    """Columns that may have this meaning: those that say so, else those that say less."""
    strong = [name for name in names if meaning_of(name) == meaning]
    return strong or [name for name in names if _WEAKER_OF.get(key_of(name)) == meaning]


def recognise(
    names: Sequence[str],
    said: Mapping[str, str],
    meanings: Iterable[str],
    place: Path,
    by_name: Collection[str] = (),
) -> dict[str, str]:
    """Meaning → column, of those meanings that are there.

    Args:
        said: meaning → column, as configured; "" for a meaning that no column is to have.
        place: the file that errors name.
        by_name: meanings that only their own name has, in any case; other spellings may be
            features.

    Raises:
        DataError: a column said is absent, or two columns may have one meaning.
    """
    taken: dict[str, str] = {}
    free = [name for name in names if name not in said.values()]
    for meaning in meanings:
        if meaning in said:
            found = _said(meaning, said[meaning], names, place)
        elif meaning in by_name:
            found = [name for name in free if key_of(name) == key_of(meaning)]
        else:
            found = candidates(free, meaning)
        if len(found) > 1:
            raise DataError(
                f"{place}: {' and '.join(map(repr, found))} may both be {meaning!r}; say which one "
                f'is: data.columns.{meaning} = "{found[0]}"'
            )
        if found:
            taken[meaning] = found[0]
    return taken


def _said(meaning: str, column: str, names: Sequence[str], place: Path) -> list[str]:
    if column and column not in names:
        raise DataError(
            f"{place}: no column {column!r}, which data.columns.{meaning} says; "
            f"{nearest(column, list(names), 'columns')}"
        )
    return [column] if column else []
