"""Features that change when the latest factors are withheld are named, and no others."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig, FeaturesConfig
from atft_hpo.data.features.families import features_of
from atft_hpo.data.features.families.kind import Feature, Kind
from atft_hpo.data.features.families.trailing import Trailing, log
from atft_hpo.data.features.withheld_factors import withhold_latest
from atft_hpo.data.ingest.prices import Prices, read_prices
from atft_hpo.progress import silent

FEATURES = features_of(FeaturesConfig(windows_days=(1, 5, 20, 40)))


def planted(name: str, compute) -> Feature:  # type: ignore[no-untyped-def]
    return Feature("planted", Kind(name, "", compute), 20)


OLD = planted("old_dollar_volume", lambda h, w: log(
    Trailing(h.block.close_NT * h.block.volume_NT).mean(w)))  # fmt: skip
LEVEL = planted("price", lambda h, w: h.block.close_NT)
SHARES = planted("volume", lambda h, w: h.volume.mean(w))


@pytest.fixture(scope="module")
def quoted(make_prices) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    """Raw prices of 40 stocks over 400 days; every other pays 1 % on day 300, S6 splits then."""
    frame = make_prices(days=400, stocks=40)
    before = pl.col("day") < 300
    pays = pl.col("code").str.slice(1).cast(pl.Int32) % 2 == 0
    paid = pl.when(before & pays).then(0.99).otherwise(1.0)
    ratio = pl.when(before & (pl.col("code") == "S6")).then(3.0).otherwise(1.0)
    prices = [pl.col(name) * ratio / paid for name in ("open", "high", "low", "close")]
    return frame.with_columns(*prices, pl.col("volume") / ratio, adj_close=pl.col("close"))


def prices_of(frame: pl.DataFrame, folder) -> Prices:  # type: ignore[no-untyped-def]
    frame.write_parquet(folder / "prices.parquet")
    config = DataConfig.model_validate({"features": {"universe_column": "member"}})
    return read_prices(folder / "prices.parquet", config, silent)


def test_old_features_are_named_and_the_catalogue_is_not(quoted, tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = withhold_latest(prices_of(quoted, tmp_path), [*FEATURES, OLD, LEVEL, SHARES])
    assert found is not None
    assert set(found.shifts) == {OLD.name, LEVEL.name, SHARES.name}
    assert found.stocks == 19  # all that pay, but for S2, which is gone by then
    assert found.since == str(np.busday_offset("2019-01-01", 200, roll="forward"))
    assert min(found.shifts.values()) > 1e-3


def test_volume_that_no_split_divides_shows_in_money_of_adjusted_prices(quoted, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """As it was: adjusted close × volume as traded moves with the split, not just the dividend."""
    prices = prices_of(quoted, tmp_path)
    as_traded = replace(prices, share_factor_R=None)
    then, now = withhold_latest(as_traded, [OLD]), withhold_latest(prices, [OLD])
    assert then is not None
    assert now is not None
    assert then.shifts[OLD.name] > 2 * now.shifts[OLD.name]


def test_factors_before_the_date_are_not_withheld(quoted, tmp_path) -> None:  # type: ignore[no-untyped-def]
    long_ago = quoted.filter(pl.col("day") >= 220)  # day 300 is in the first half
    assert withhold_latest(prices_of(long_ago, tmp_path), [LEVEL]) is None


def test_without_factors_nothing_is_withheld(prices: pl.DataFrame, tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert withhold_latest(prices_of(prices, tmp_path), [LEVEL]) is None


def test_a_sample_of_many_stocks_holds_those_that_were_rescaled(quoted, tmp_path) -> None:  # type: ignore[no-untyped-def]
    copies = [
        quoted.with_columns(code=pl.col("code") + f"_{k}", adj_close=pl.col("close"))
        for k in range(6)
    ]
    many = pl.concat([quoted, *copies], how="diagonal_relaxed")
    found = withhold_latest(prices_of(many, tmp_path), [LEVEL, *FEATURES[:20]])
    assert found is not None
    assert (found.stocks, set(found.shifts)) == (19, {LEVEL.name})
