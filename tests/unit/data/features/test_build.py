"""The whole build: causality, scale, nulls, the universe, files."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig, FeaturesConfig
from atft_hpo.data.features import build as features_module
from atft_hpo.data.features.build import build_features
from atft_hpo.data.features.catalogue import catalogue
from atft_hpo.errors import ConfigError, DataError, VolumeError

Build = Callable[..., pl.DataFrame]
PRICES = ["open", "high", "low", "close"]
KEYS = ["date", "code", "sector", "alive", "tradable", "suspicious", "close", "traded_value"]


def scaled(frame: pl.DataFrame, where: pl.Expr, factor: float | pl.Expr) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(where).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
        for name in PRICES
    )


def test_columns_are_keys_then_the_catalogue(features: pl.DataFrame, prices: pl.DataFrame) -> None:
    names = [doc.name for doc in catalogue(FeaturesConfig())]
    assert features.columns == KEYS + names
    assert features.height == prices.height
    assert set(features.select(names).dtypes) == {pl.Float32}
    types = [pl.Date, pl.String, pl.String, *[pl.Boolean] * 3, *[pl.Float64] * 2]
    assert features.select(KEYS).dtypes == types
    expected = prices.sort("code", "date").select("date", "code", "sector", alive="member")
    assert features.select("date", "code", "sector", "alive").equals(expected)


def test_no_value_is_infinite_or_nan_and_no_column_empty(features: pl.DataFrame) -> None:
    numbers = features.drop(KEYS)
    assert numbers.select(pl.all().is_infinite().any()).row(0).count(True) == 0
    assert numbers.select(pl.all().is_nan().any()).row(0).count(True) == 0
    constant = [name for name in numbers.columns if numbers[name].drop_nulls().n_unique() < 2]
    assert constant == []


def test_a_feature_is_null_until_its_window_is_full(features: pl.DataFrame) -> None:
    own = features.filter(pl.col("code") == "S5")
    for name, first in (
        ("returns__log_20d", 20),
        ("range__width_20d", 19),
        ("volatility__std_60d", 60),
        ("momentum__skip_month_40d", 60),
        ("momentum__over_mean_5d", 4),
    ):
        known = own[name].is_not_null()
        assert int(known.arg_max() or 0) == first, name
        assert known[first:].all()


@pytest.mark.parametrize("day", [130, 200])
def test_nothing_after_a_day_changes_anything_up_to_it(
    day: int, prices: pl.DataFrame, features: pl.DataFrame, build: Build
) -> None:
    rng = np.random.default_rng(1)
    later = pl.col("day") > day
    noise = pl.Series(np.exp(rng.normal(0, 0.5, prices.height)))
    changed = scaled(prices, later, noise).with_columns(
        high=pl.max_horizontal(PRICES) * 1.1,
        volume=pl.when(later).then(pl.col("volume") * noise + 5).otherwise(pl.col("volume")),
        member=pl.when(later).then(~pl.col("member")).otherwise(pl.col("member")),
    )
    same_high = pl.when(later).then(pl.col("high")).otherwise(prices["high"])
    after = build(changed.with_columns(high=same_high))
    past = pl.col("date") <= prices.filter(pl.col("day") == day)["date"][0]
    assert not after.filter(~past).equals(features.filter(~past))
    for name in features.columns:
        assert after.filter(past)[name].equals(features.filter(past)[name]), name


def test_rows_that_do_not_exist_yet_change_nothing(
    prices: pl.DataFrame, features: pl.DataFrame, build: Build
) -> None:
    past = pl.col("date") <= prices.filter(pl.col("day") == 190)["date"][0]
    truncated = build(prices.filter(past))
    for name in features.columns:
        assert truncated[name].equals(features.filter(past)[name]), name


def test_the_scale_of_one_stocks_prices_changes_nothing(
    prices: pl.DataFrame, features: pl.DataFrame, build: Build
) -> None:
    changed = build(scaled(prices, pl.col("code") == "S6", 3.7))
    for name in (doc.name for doc in catalogue(FeaturesConfig())):
        before, after = features[name].to_numpy(), changed[name].to_numpy()
        if name.startswith("liquidity__log_dollar_volume"):
            assert not np.allclose(before, after, equal_nan=True)
        else:
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-6, err_msg=name)


def test_adjusted_close_adjusts_all_prices(
    prices: pl.DataFrame, features: pl.DataFrame, build: Build
) -> None:
    split = pl.when(pl.col("day") < 150).then(2.0).otherwise(1.0)
    raw = prices.with_columns(adj_close=pl.col("close"))
    raw = raw.with_columns([*((pl.col(n) * split) for n in PRICES)])
    adjusted = build(raw)
    np.testing.assert_allclose(adjusted["close"], features["close"], rtol=1e-12)
    for name in ("range__width_60d", "returns__overnight_20d", "volatility__yang_zhang_20d"):
        np.testing.assert_allclose(adjusted[name], features[name], rtol=1e-4, atol=1e-6)


def test_stocks_outside_the_universe_move_neither_market_nor_ranks(
    prices: pl.DataFrame, features: pl.DataFrame, build: Build
) -> None:
    outside = (pl.col("code") == "S4") & ~pl.col("member")
    changed = build(scaled(prices, outside & (pl.col("day") < 59), 1.5))
    others = pl.col("code") != "S4"
    unranked = pl.exclude("^ranks__.*$")  # later, as a member, it is ranked with its past
    assert changed.filter(others).select(unranked).equals(features.filter(others).select(unranked))
    before = others & (pl.col("date") < prices.filter(pl.col("day") == 59)["date"][0])
    assert changed.filter(before).equals(features.filter(before))


def test_order_of_rows_and_size_of_pieces_do_not_matter(
    prices: pl.DataFrame, features: pl.DataFrame, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "_PIECE_CELLS", 600)
    shuffled = build(prices.sample(fraction=1.0, shuffle=True, seed=3))
    assert shuffled.equals(features)


def test_limit_and_families_only_leave_columns_out(
    prices: pl.DataFrame, features: pl.DataFrame, build: Build
) -> None:
    some = build(prices, limit=50)
    assert len(some.columns) == len(KEYS) + 50
    assert some.equals(features.select(some.columns))
    ranks = build(prices, families=["ranks"])
    assert ranks.equals(features.select(ranks.columns))


def test_without_sector_the_sectors_features_are_left_out(
    prices: pl.DataFrame, features: pl.DataFrame, build: Build
) -> None:
    out = build(prices.drop("sector"))
    assert "sector" not in out.columns
    assert len(out.columns) == len(KEYS) - 1 + 361
    assert out.equals(features.select(out.columns))


def test_a_sector_of_one_has_no_ratio_made_of_rounding(prices: pl.DataFrame, build: Build) -> None:
    alone = pl.when(pl.col("code") == "S5").then(pl.lit("alone")).otherwise(pl.col("sector"))
    out = build(prices.with_columns(sector=alone)).filter(pl.col("code") == "S5")
    assert (out["relative__sector_excess_20d"].drop_nulls() == 0).all()
    assert (out["relative__sector_wins_20d"].drop_nulls() == 0.5).all()
    assert out["relative__sector_scaled_20d"].is_null().all()
    assert out["beta__sector_residual_20d"].is_null().all()


@pytest.mark.parametrize("days", [1, 2, 7, 25])
def test_a_short_table_gives_nulls_for_what_it_cannot_fill(
    days: int, prices: pl.DataFrame, features: pl.DataFrame, build: Build
) -> None:
    dates = sorted(prices["date"].unique())[:days]
    out = build(prices.filter(pl.col("date").is_in(dates)))
    expected = features.filter(pl.col("date").is_in(dates))
    for name in features.columns:
        assert out[name].equals(expected[name]), name


def test_real_prices_fill_every_column(real_data: Path, build: Build) -> None:
    source = pl.scan_parquet(real_data / "us_sp500_daily.parquet").collect()
    some = source.filter(pl.col("code").is_in(source["code"].unique().sort()[:40].to_list()))
    out = build(some, universe_column=None).drop(KEYS)
    known = 1 - out.null_count().row(0, named=False)[0] / out.height
    assert known > 0.8
    for name in out.columns:
        values = out[name].drop_nulls()
        assert values.is_finite().all(), name
        assert len(values) > 0.7 * out.height, name
        assert values.n_unique() > 2, name


def test_progress_tells_what_was_mended(prices: pl.DataFrame, tmp_path: Path) -> None:
    broken = prices.with_columns(
        high=pl.when(pl.col("day") == 5).then(pl.col("low")).otherwise(pl.col("high"))
    )
    broken.write_parquet(tmp_path / "prices.parquet")
    told: list[str] = []
    out = tmp_path / "out"
    config = DataConfig(features=FeaturesConfig(limit=5))
    build_features(tmp_path / "prices.parquet", out, config, told.append)
    assert any("8 rows with open or close outside" in line for line in told)
    assert told[-1] == "features: piece 1 of 1"


def test_an_existing_output_is_not_touched(prices: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="exists already"):
        build_features(tmp_path / "prices.parquet", tmp_path / "out", DataConfig())


def test_a_wrong_family_is_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'range'"):
        build_features(
            tmp_path / "absent",
            tmp_path / "out",
            DataConfig(features=FeaturesConfig(families=("rage",))),
        )


def test_a_full_disk_leaves_nothing_behind(
    prices: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    prices.write_parquet(tmp_path / "prices.parquet")
    monkeypatch.setattr(features_module.pa.ipc, "new_file", full)
    with pytest.raises(VolumeError, match="No space left on device"):
        build_features(
            tmp_path / "prices.parquet",
            tmp_path / "out",
            DataConfig(features=FeaturesConfig(limit=5)),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["prices.parquet"]
