import json
import shutil
from datetime import date

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from scipy.stats import spearmanr

from atft_hpo.config.data_schema import DataConfig, SplitConfig
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
