"""From prices to the manifest: through built features, or from a feature table's closes."""

import json
from datetime import date

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from atft_hpo.config.data_schema import DataConfig, FeaturesConfig
from atft_hpo.data.features.build import build_features
from atft_hpo.data.ingest.table import REPORT_KEY, open_table, read_rows
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.suspicious.findings import SuspiciousPrices
from atft_hpo.data.suspicious.table_findings import REPORTED_AS, found_in_table

SPLIT_DAY = date(2019, 8, 1)
FEATURES = FeaturesConfig(families=("returns",), windows_days=(1, 5))
PRICES = DataConfig(source="ohlcv", features=FEATURES)


@pytest.fixture(scope="module")
def unadjusted():
    """24 stocks × 300 days; 12 split five for one on one day, and nobody adjusts."""
    rng = np.random.default_rng(0)
    days = np.busday_offset("2019-01-07", np.arange(300)).astype("datetime64[D]")
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (300, 24)), axis=0))
    first = close * np.exp(rng.normal(0, 0.01, close.shape))
    frame = pl.DataFrame(
        {
            "date": np.repeat(days, 24),
            "code": [str(1300 + n) for n in range(24)] * 300,
            "open": first.ravel(),
            "high": (np.maximum(first, close) * 1.01).ravel(),
            "low": (np.minimum(first, close) * 0.99).ravel(),
            "close": close.ravel(),
            "volume": np.exp(rng.normal(11, 0.6, close.size)),
        }
    )
    after = (pl.col("date") >= SPLIT_DAY) & (pl.col("code") < "1312")
    split = pl.when(after).then(5.0).otherwise(1.0)
    return frame.with_columns(pl.col("open", "high", "low", "close") / split)


@pytest.fixture(scope="module")
def built(unadjusted, tmp_path_factory):
    """The features of those prices, in two files."""
    folder = tmp_path_factory.mktemp("built")
    unadjusted.write_parquet(folder / "prices.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atft_hpo.data.features.build._PIECE_CELLS", 4000)
        return build_features(folder / "prices.parquet", folder / "features", PRICES)


def config(treatment="keep"):
    return DataConfig(source="features", horizons_days=(1, 5), suspicious_prices=treatment)


def found_in(path):
    table = open_table(path, config(), path.parent / "copies")
    return found_in_table(table, read_rows(table, config()))


def splits(report):
    return [(day["date"], day["ratio"], day["count"]) for day in report["split_days"]]


def test_the_table_carries_the_findings_and_rows_their_flag(built):
    assert len(sorted(built.iterdir())) > 1
    assert splits(open_table(built, config(), built.parent / "copies").report[REPORTED_AS]) == [
        ("2019-08-01", "5:1", 12)
    ]
    flagged = pl.scan_ipc(built / "*.arrow").filter("suspicious").collect()
    assert flagged["date"].unique().to_list() == [SPLIT_DAY]
    assert sorted(flagged["code"]) == [str(1300 + n) for n in range(12)]


def test_the_manifest_names_twelve_splits(built, tmp_path):
    report = pack_table(built, tmp_path / "store", config()).manifest.report["suspicious_prices"]
    assert splits(report) == [("2019-08-01", "5:1", 12)]
    assert report["untraded_changes"] == {"count": 0, "share": 0.0, "worst": []}


def test_the_build_says_so(unadjusted, tmp_path):
    said = []
    unadjusted.write_parquet(tmp_path / "prices.parquet")
    build_features(tmp_path / "prices.parquet", tmp_path / "out", PRICES, said.append)
    assert [line for line in said if line.startswith("suspicious prices: 12 unadjusted split")]


def test_a_day_with_rows_and_no_closes_is_named(unadjusted, tmp_path):
    shut = pl.col("date") == date(2019, 10, 1)
    numbers = ["open", "high", "low", "close", "volume"]
    frame = unadjusted.with_columns(
        pl.when(shut).then(None).otherwise(pl.col(n)).alias(n) for n in numbers
    )
    frame.write_parquet(tmp_path / "prices.parquet")
    said = []
    out = build_features(tmp_path / "prices.parquet", tmp_path / "out", PRICES, said.append)
    packed = pack_table(out, tmp_path / "panel", PRICES)
    thin = packed.manifest.report[REPORTED_AS]["thin_days"]
    assert thin["count"] == 1
    assert thin["share"] == 1 / 300
    assert thin["worst"] == [{"date": "2019-10-01", "code": None, "size": 1.0, "note": "no closes"}]
    assert "1 days without any close, such as 2019-10-01: left out" in said
    assert "2019-10-01" not in packed.manifest.dates


def test_masked_labels_are_those_over_the_split_and_all_others_stay(built, tmp_path):
    kept = pack_table(built, tmp_path / "kept", config())
    masked = pack_table(built, tmp_path / "masked", config("mask_label"))
    day = kept.manifest.dates.index("2019-08-01")
    over_DNQ = np.zeros(kept.targets.shape, bool)
    for q, horizon in enumerate((1, 5)):
        over_DNQ[day - 1 - horizon : day - 1, :12, q] = True  # entry before, exit from the day on
    assert np.isnan(masked.targets[over_DNQ]).all()
    assert (kept.targets[over_DNQ] < -0.7).all()
    np.testing.assert_array_equal(masked.targets[~over_DNQ], kept.targets[~over_DNQ])
    np.testing.assert_array_equal(np.isnan(masked.returns[day]), [True] * 12 + [False] * 12)
    others = np.arange(300) != day
    np.testing.assert_array_equal(masked.returns[others], kept.returns[others])
    np.testing.assert_array_equal(masked.features, kept.features)


def test_a_table_from_elsewhere_is_judged_by_its_closes(unadjusted, tmp_path):
    table = unadjusted.select("date", "code", "close", noise=pl.col("volume"))
    table.sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "table.parquet")
    found, suspicious_R = found_in(tmp_path / "table.parquet")
    assert isinstance(found, SuspiciousPrices)
    assert splits(found.model_dump()) == [("2019-08-01", "5:1", 12)]
    assert found.untraded_changes is None
    rows = pl.read_parquet(tmp_path / "table.parquet").filter(pl.Series(suspicious_R))
    assert rows["date"].to_list() == [SPLIT_DAY] * 12
    assert sorted(rows["code"]) == [str(1300 + n) for n in range(12)]


def test_closes_that_are_no_prices_are_passed_over(unadjusted, tmp_path):
    close = pl.when(pl.col("date").dt.day() == 3).then(0.0).otherwise(pl.col("close"))
    close = pl.when(pl.col("code") == "1301").then(None).otherwise(close)
    table = unadjusted.select("date", "code", close=close, noise=pl.col("volume"))
    table.write_parquet(tmp_path / "table.parquet")
    found, _ = found_in(tmp_path / "table.parquet")
    assert found is not None
    assert splits(found.model_dump()) == [("2019-08-01", "5:1", 11)]


def test_flags_of_ones_own_are_taken(unadjusted, tmp_path):
    mine = unadjusted.select(
        "date", "code", "close", noise=pl.col("volume"), suspicious=pl.col("code") == "1320"
    )
    mine.write_parquet(tmp_path / "table.parquet")
    found, suspicious_R = found_in(tmp_path / "table.parquet")
    assert found is not None
    assert suspicious_R.sum() == 300
    assert open_table(tmp_path / "table.parquet", config(), tmp_path / "copies").features == (
        "noise",
    )


def test_without_closes_nothing_is_looked_for(unadjusted, tmp_path):
    target = pl.col("close").pct_change().over("code")
    table = unadjusted.select("date", "code", noise=pl.col("volume"), target_1d=target)
    table.with_columns(target_5d=pl.col("target_1d")).write_parquet(tmp_path / "table.parquet")
    found, suspicious_R = found_in(tmp_path / "table.parquet")
    assert found is None
    assert not suspicious_R.any()
    assert len(suspicious_R) == len(unadjusted)


def test_findings_of_another_version_are_looked_for_anew(unadjusted, tmp_path):
    table = unadjusted.select("date", "code", "close", noise=pl.col("volume")).to_arrow()
    stale = table.replace_schema_metadata({REPORT_KEY: json.dumps({REPORTED_AS: {"splits": 3}})})
    pq.write_table(stale, tmp_path / "table.parquet")
    found, _ = found_in(tmp_path / "table.parquet")
    assert found is not None
    assert splits(found.model_dump()) == [("2019-08-01", "5:1", 12)]


def test_a_store_is_another_one_for_another_treatment(tmp_path, unadjusted):
    from atft_hpo.data.prepare import panel_location
    from atft_hpo.paths import Volume

    unadjusted.write_parquet(tmp_path / "p.parquet")
    places = {
        panel_location(
            DataConfig(source="ohlcv", path=str(tmp_path / "p.parquet"), suspicious_prices=how),
            Volume(tmp_path),
        )
        for how in ("keep", "mask_label")
    }
    assert len(places) == 2
