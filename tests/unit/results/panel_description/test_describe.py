import json
import shutil
from datetime import date

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from scipy.stats import spearmanr

from atft_hpo.config.data_schema import DataConfig, FeaturesConfig, SplitConfig
from atft_hpo.data.features.build import build_features
from atft_hpo.data.features.families import FAMILIES
from atft_hpo.data.features.families.kind import Kind
from atft_hpo.data.features.families.trailing import Trailing, log
from atft_hpo.data.features.families.volume import LIQUIDITY
from atft_hpo.data.sampling.splits import date_split
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel
from atft_hpo.paths import PanelPaths
from atft_hpo.results.panel_description.describe import describe
from atft_hpo.results.panel_description.terminal import description_tables

CLOSE = pl.col("close")
BY_STOCK = "code"
LEAKS = {
    "price__of_maximum": CLOSE / CLOSE.max().over(BY_STOCK),
    "returns__tomorrow": CLOSE.shift(-2).over(BY_STOCK) / CLOSE.shift(-1).over(BY_STOCK) - 1,
}
HONEST = {
    "momentum__20d": CLOSE / CLOSE.shift(20).over(BY_STOCK) - 1,
    "momentum__drawdown": CLOSE / CLOSE.rolling_max(60).over(BY_STOCK),
    "volatility__20d": CLOSE.pct_change().rolling_std(20).over(BY_STOCK),
    "price__level": CLOSE,
}


@pytest.fixture(scope="module", params=[0, 2])
def leaky(request, make_market):
    """A random walk with honest trailing features, noise, and two leaks.

    Seeds whose market does not fall throughout: where the maximum lies in the past for most
    stocks and days, a share of it tells nothing of the future and is no leak that can be measured.
    """
    table = make_market(days=420, stocks=50, seed=request.param).sort("code", "date")
    return table.with_columns(**LEAKS, **HONEST)


def test_alarm_names_the_leaks_and_nothing_else(pack, leaky):
    assert {leak.name for leak in describe(pack(leaky)).leaks} == set(LEAKS)


def test_a_mirrored_leak_is_a_leak(pack, market):
    later = -LEAKS["returns__tomorrow"]
    found = describe(pack(market.sort("code", "date").with_columns(noise=later)))
    assert [leak.name for leak in found.leaks] == ["noise"]
    assert found.leaks[0].rank_ic == pytest.approx(-1, abs=1e-3)


def test_rank_ic_is_the_mean_of_scipys(panel):
    found = {feature.name: feature for feature in describe(panel).features}
    noise = found["noise"]
    q = panel.manifest.horizons_days.index(noise.horizon_days)
    f = panel.feature_names.index("noise")
    split = date_split(160, SplitConfig(), 5, 1)
    daily = []
    for day in [*split.train, *split.validation]:
        known = panel.alive[day] & ~np.isnan(panel.targets[day]).any(axis=-1)
        if known.sum() >= 20:
            x, y = panel.features[day, known, f], panel.targets[day, known, q]
            daily.append(spearmanr(x, y).statistic)
    assert noise.rank_ic == pytest.approx(np.mean(daily), abs=1e-6)


def test_the_test_range_is_not_read(panel, tmp_path):
    shutil.copytree(panel.root, tmp_path / "copy")
    start = date_split(160, SplitConfig(), 5, 1).test.start
    for path, shape in (
        (PanelPaths(tmp_path / "copy").features, panel.features.shape),
        (PanelPaths(tmp_path / "copy").targets, panel.targets.shape),
    ):
        kind = np.float16 if path.name == "features.bin" else np.float32
        np.memmap(path, kind, "r+", shape=shape)[start:] = 3
    assert describe(Panel.open(tmp_path / "copy")) == describe(panel)


def test_counts(panel):
    found = describe(panel)
    assert (found.days, found.stocks, found.sectors) == (160, 30, 3)
    assert found.families == {"returns": 1, "momentum": 1, "ranks": 1, "calendar": 1, "other": 1}
    assert found.stocks_per_day == (29, 29, 30)
    one_day = found.labels[0]
    assert one_day.horizon_days == 1
    assert 0.98 < one_day.coverage <= 1
    assert one_day.std == pytest.approx(0.0224, rel=0.1)
    missing = {feature.name: feature.missing_share for feature in found.features}
    assert missing["ranks__volume"] == pytest.approx(0.02, rel=0.3)


def test_suspicious_prices_come_from_the_manifest(pack, make_market):
    table = make_market(days=160, stocks=30).with_columns(
        close=CLOSE * pl.when((pl.col("code") == "S005") & (pl.col("date") >= date(2020, 3, 1)))
        .then(0.2).otherwise(1.0),
    )  # fmt: skip
    found = describe(pack(table))
    assert found.suspicious_labels == "keep"
    assert found.suspicious_prices is not None
    assert [(day.date, day.ratio, day.count) for day in found.suspicious_prices.split_days] == [
        ("2020-03-01", "5:1", 1)
    ]
    without = table.drop("close").with_columns(target_1d="returns__1d", target_5d="momentum__10d")
    assert describe(pack(without, "without")).suspicious_prices is None


def test_synthetic_markets_are_screened_on_what_their_forecast_leaves_over(pack, make_market):
    rng = np.random.default_rng(0)
    table = make_market(days=420, stocks=50).sort("code", "date")
    signal, luck = rng.normal(size=(2, len(table)))
    table = table.with_columns(
        target_1d=pl.Series(0.5 * signal + luck),
        oracle__main=pl.Series(0.5 * signal),
        planted__signal=pl.Series(signal),
        planted__leak=pl.Series(signal + 0.3 * luck),
    )
    found = describe(pack(table))
    assert found.residual
    assert [leak.name for leak in found.leaks] == ["planted__leak"]


def test_dump_and_tables(pack, leaky):
    found = describe(pack(leaky))
    assert json.loads(found.model_dump_json())["days"] == 420
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(description_tables(found))
    text = capture.get()
    assert "LEAK ALARM" in text
    assert "price__of_maximum" in text


def test_tables_without_an_alarm(panel):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(description_tables(describe(panel)))
    assert "No leak alarm" in capture.get()


def test_real_prices_raise_the_alarm_for_the_leaks_only(real_data, tmp_path):
    prices = pl.read_parquet(real_data / "us_sp500_daily.parquet")
    prices = prices.select("date", "code", "sector", close="adj_close").sort("code", "date")
    prices.with_columns(**LEAKS, **HONEST).write_parquet(tmp_path / "t.parquet")
    panel = pack_table(tmp_path / "t.parquet", tmp_path / "store", DataConfig(source="features"))
    assert {leak.name for leak in describe(panel).leaks} == set(LEAKS)


def quoted_prices(days=400, stocks=40, seed=0):
    """Raw prices: every other stock splits 2:1 or pays 3 % on a day of the last year."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (days, stocks)), axis=0))
    day, stock = np.indices(close.shape)
    before = day < 300
    ratio = np.where(before & (stock % 4 == 0), 2.0, 1.0)
    paid = np.where(before & (stock % 4 == 2), 0.97, 1.0)
    raw = close * ratio / paid
    return pl.DataFrame(
        {
            "date": np.busday_offset("2020-01-01", day.ravel(), roll="forward"),
            "code": [f"S{s:02d}" for s in stock.ravel()],
            "open": (first := raw * np.exp(rng.normal(0, 0.005, raw.shape))).ravel(),
            "high": (np.maximum(first, raw) * rng.uniform(1, 1.01, raw.shape)).ravel(),
            "low": (np.minimum(first, raw) / rng.uniform(1, 1.01, raw.shape)).ravel(),
            "close": raw.ravel(),
            "adj_close": close.ravel(),
            "volume": (np.exp(rng.normal(11, 1, close.shape)) / ratio).ravel(),
        }
    )


@pytest.fixture
def old_dollar_volume(monkeypatch):
    """The feature as it was: money of back-adjusted closes."""
    kind = Kind(
        "old_dollar_volume",
        "ln mean_{w} V·C",
        lambda h, w: log(Trailing(h.block.close_NT * h.block.volume_NT).mean(w)),
        least=20,
    )
    monkeypatch.setitem(FAMILIES, "liquidity", [*LIQUIDITY, kind])


def described_prices(table, folder):
    table.write_parquet(folder / "prices.parquet")
    config = DataConfig(source="ohlcv", features=FeaturesConfig(windows_days=(1, 5, 20)))
    build_features(folder / "prices.parquet", folder / "features", config)
    return describe(pack_table(folder / "features", folder / "store", config))


def test_a_feature_that_knows_later_splits_is_named(old_dollar_volume, tmp_path):
    found = described_prices(quoted_prices(), tmp_path)
    assert [leak.name for leak in found.leaks] == ["liquidity__old_dollar_volume_20d"]
    assert found.leaks[0].knows_adjustment
    assert not found.leaks[0].foretells
    assert found.adjustment["splits"] == 10
    console = Console(width=120)
    with console.capture() as capture:
        console.print(description_tables(found))
    text = " ".join(capture.get().split())
    assert "LEAK ALARM: liquidity__old_dollar_volume_20d rank stocks differently" in text
    assert f"splits and dividends since {found.factors_withheld_since} are withheld" in text
    assert "10 splits; traded value: close × volume" in text


def test_the_catalogue_knows_no_later_splits(tmp_path):
    found = described_prices(quoted_prices(), tmp_path)
    assert found.leaks == []
    assert {feature.adjustment_shift for feature in found.features} == {0.0}
    console = Console(width=200)
    with console.capture() as capture:
        console.print(description_tables(found))
    assert "and none changes when splits and dividends since" in capture.get()


def test_without_factors_the_second_alarm_says_that_it_did_not_look(tmp_path, panel):
    found = described_prices(quoted_prices().drop("adj_close"), tmp_path)
    assert found.factors_withheld_since is None
    for description in (found, describe(panel)):
        assert {feature.adjustment_shift for feature in description.features} == {None}
        console = Console(width=120)
        with console.capture() as capture:
            console.print(description_tables(description))
        assert "Not tested: whether features know of later splits" in capture.get()
