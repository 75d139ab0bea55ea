"""The synthetic market: same seed, same bytes; known truth; the irregularities it promises."""

import errno
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atft_hpo.config.data_schema import DataConfig, PackConfig, SyntheticConfig
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.synthetic import market as module
from atft_hpo.data.synthetic.market import CLUSTER_STOCKS, synthetic_table
from atft_hpo.data.synthetic.planted_parts import COMMENSURATE_BINS, LAG_DAYS, PART_SHARES
from atft_hpo.errors import VolumeError
from bench.planted.oracle import oracle_share

ORACLE = [f"oracle__{part}" for part in PART_SHARES]
SIZE = {"days": 420, "stocks": 60}


def market(folder: Path, delay_days: int = 1, **settings: object) -> pl.DataFrame:
    config = DataConfig(
        delay_days=delay_days, synthetic=SyntheticConfig.model_validate(SIZE | settings)
    )
    return pl.read_parquet(synthetic_table(config.synthetic, config, folder / "market.parquet"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return market(tmp_path_factory.mktemp("market"))


def daily_ic(table: pl.DataFrame, forecast: pl.Expr, delay_days: int = 1) -> float:
    """Mean daily correlation with the one-day label, by row shifts of each stock."""
    close = pl.col("close")
    label = close.shift(-delay_days - 1) / close.shift(-delay_days) - 1
    labelled = table.sort("code", "date").with_columns(y=label.over("code"), p=forecast)
    days = labelled.drop_nulls("y").group_by("date").agg(pl.corr("p", "y"))
    return float(np.nanmean(days["p"].to_numpy()))


def wide(table: pl.DataFrame, column: str) -> np.ndarray:
    """[D, N] with NaN where a stock has no row."""
    return table.pivot("code", index="date", values=column).sort("date").drop("date").to_numpy()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    config = DataConfig(synthetic=SyntheticConfig(days=130, stocks=30))
    first = synthetic_table(config.synthetic, config, tmp_path / "a.parquet").read_bytes()
    assert synthetic_table(config.synthetic, config, tmp_path / "b.parquet").read_bytes() == first
    other = config.synthetic.model_copy(update={"seed": 1})
    assert synthetic_table(other, config, tmp_path / "c.parquet").read_bytes() != first
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet"}


def test_columns_and_sizes(table: pl.DataFrame) -> None:
    families = {name.split("__")[0] for name in table.columns if "__" in name}
    expected = {"effects", "memory", "level", "links", "cycle", "sector", "scale", "noise"}
    assert families == expected | {"oracle"}
    assert table.columns[:4] == ["date", "code", "sector", "close"]
    assert [name for name in table.columns if name.startswith("oracle")] == ORACLE
    assert sum(name.startswith("noise__") for name in table.columns) == 8
    assert table["date"].n_unique() == SIZE["days"]
    assert table["code"].n_unique() == SIZE["stocks"]
    assert table["close"].min() > 0
    assert table.select("date", "code").is_unique().all()


@pytest.mark.parametrize(("ic", "delay"), [(0.4, 1), (0.15, 1), (0.4, 0), (0.4, 3)])
def test_the_oracle_has_the_ic_it_is_asked_for(ic: float, delay: int, tmp_path: Path) -> None:
    table = market(tmp_path, delay_days=delay, oracle_ic=ic)
    total = pl.sum_horizontal(ORACLE)
    assert daily_ic(table, total, delay) == pytest.approx(ic, abs=0.035)
    # It forecasts that day and no other.
    assert abs(daily_ic(table, total, delay + 7)) < 0.1 * (ic / 0.4) + 0.02


def test_each_part_forecasts_by_its_share(table: pl.DataFrame) -> None:
    for part, share in PART_SHARES.items():
        found = daily_ic(table, pl.col(f"oracle__{part}"))
        assert found == pytest.approx(0.4 * np.sqrt(share), abs=0.035), part
    parts = np.stack([wide(table, name) for name in ORACLE], axis=2)
    alive = ~np.isnan(parts[..., 0])
    share = oracle_share(np.nansum(parts, axis=2), parts, alive)
    assert share.total == pytest.approx(1.0)
    assert share.weights == pytest.approx(list(PART_SHARES.values()), abs=0.03)


def test_the_sum_of_the_oracle_is_a_forecast_in_units_of_return(table: pl.DataFrame) -> None:
    close = pl.col("close")
    label = (close.shift(-2) / close.shift(-1) - 1).over("code")
    rows = table.sort("code", "date").with_columns(y=label, o=pl.sum_horizontal(ORACLE))
    rows = rows.drop_nulls("y")
    demeaned = [rows[name].to_numpy() - rows[name].mean() for name in ("o", "y")]
    slope = (demeaned[0] @ demeaned[1]) / (demeaned[0] @ demeaned[0])
    assert slope == pytest.approx(1.0, abs=0.08)


def test_links_are_invisible_at_home_and_visible_at_the_neighbours(table: pl.DataFrame) -> None:
    feature, part = wide(table, "links__leading"), wide(table, "oracle__d_links")
    both = ~np.isnan(feature) & ~np.isnan(part)
    own = np.corrcoef(feature[both], part[both])[0, 1]
    assert abs(own) < 0.05
    links = correlations(feature[:-1], part[1:])  # yesterday's
    linked = np.sort(links, axis=0)[::-1]
    assert (linked[: CLUSTER_STOCKS - 2] > 0.2).mean() > 0.9
    assert np.abs(linked[CLUSTER_STOCKS + 1 : -1]).max() < 0.35


def correlations(x_DN: np.ndarray, y_DN: np.ndarray) -> np.ndarray:
    """[N, N] correlation of x of one stock with y of another."""
    x, y = (np.nan_to_num(a) for a in (x_DN, y_DN))
    x, y = ((a - a.mean(axis=0)) / a.std(axis=0) for a in (x, y))
    return np.asarray(x.T @ y / len(x))


def test_correlations_of_returns_find_the_linked_stocks(table: pl.DataFrame) -> None:
    close = wide(table, "close")
    steady = ~np.isnan(close).any(axis=0)
    returns = (close[1:] / close[:-1] - 1)[-60:, steady]
    found = np.corrcoef(returns.T)
    np.fill_diagonal(found, -1)
    links = correlations(wide(table, "links__leading")[:-1], wide(table, "oracle__d_links")[1:])
    links = links[np.ix_(steady, steady)]
    nearest = np.argsort(-found, axis=1)[:, : CLUSTER_STOCKS - 1]
    truly = np.take_along_axis(links.T, nearest, axis=1) > 0.25
    assert truly.mean() > 0.75


def test_a_lag_and_a_memory_carry_part_b(table: pl.DataFrame) -> None:
    lagged, kept = wide(table, "memory__lagged"), wide(table, "memory__kept")
    part = wide(table, "oracle__b_memory")
    needed = (part[LAG_DAYS:], lagged[LAG_DAYS:], lagged[:-LAG_DAYS], kept[LAG_DAYS:])
    cells = ~np.isnan(np.stack(needed)).any(axis=0)

    def with_part(x: np.ndarray) -> float:
        return float(np.corrcoef(x[cells], part[LAG_DAYS:][cells])[0, 1])

    assert with_part(lagged[:-LAG_DAYS]) == pytest.approx(-np.sqrt(1 / 3), abs=0.03)
    assert abs(with_part(lagged[LAG_DAYS:])) < 0.03
    today = np.sqrt(1 - (5 / 6) ** 2)  # weight of the latest value in a memory of five days
    assert with_part(kept[LAG_DAYS:]) == pytest.approx(today * np.sqrt(1 / 3), abs=0.03)


@pytest.mark.parametrize(
    ("column", "part"),
    [
        ("level__drifting", "c_drift"),
        ("cycle__commensurate", "e_commensurate"),
        ("cycle__arbitrary", "e_arbitrary"),
    ],
)
def test_cycles_drown_their_informative_part(table: pl.DataFrame, column: str, part: str) -> None:
    both = table.drop_nulls(column)
    assert 0.1 < both.select(pl.corr(column, f"oracle__{part}")).item() < 0.4


def test_a_scale_drifts_over_its_informative_part(table: pl.DataFrame) -> None:
    both = table.drop_nulls("level__breathing")
    raw = both.select(pl.corr("level__breathing", "oracle__c_drift")).item()
    assert 0.45 < raw < 0.65  # √½ without the scale
    x = wide(table, "level__breathing")
    steady = x[:, ~np.isnan(x[:300]).any(axis=0)][:300]
    spread = np.lib.stride_tricks.sliding_window_view(steady, 20, axis=0).std(axis=2)
    assert (spread.max(axis=0) / spread.min(axis=0)).mean() > 3.0


def test_arbitrary_cycles_fall_between_bins(table: pl.DataFrame) -> None:
    x = wide(table, "cycle__arbitrary")
    steady = x[:, ~np.isnan(x[:40]).any(axis=0)][:40]
    power = np.abs(np.fft.rfft(steady, axis=0)[1:]) ** 2
    assert (power.max(axis=0) / power.sum(axis=0)).mean() < 0.75


def test_fast_cycles_lie_on_a_bin_of_forty_days(table: pl.DataFrame) -> None:
    x = wide(table, "cycle__commensurate")
    steady = x[:, ~np.isnan(x[:40]).any(axis=0)][:40]
    power = np.abs(np.fft.rfft(steady, axis=0)[1:]) ** 2
    assert {int(k) + 1 for k in power.argmax(axis=0)} <= set(COMMENSURATE_BINS)
    assert (power.max(axis=0) / power.sum(axis=0)).mean() > 0.7


def test_the_sectors_sign_decides_part_f(table: pl.DataFrame) -> None:
    signs = {
        rows["sector"][0]: rows.drop_nulls().select(pl.corr("sector__signed", "oracle__f_sector"))
        for rows in table.partition_by("sector")
    }
    values = sorted(round(value.item(), 3) for value in signs.values())
    assert set(values) == {-1.0, 1.0}


def test_noise_is_louder_where_the_scale_feature_is_high(table: pl.DataFrame) -> None:
    ret = (pl.col("close") / pl.col("close").shift(1) - 1).over("code")
    rows = table.sort("code", "date").with_columns(r=ret).drop_nulls(["r", "scale__volatile"])
    louder = rows.filter(pl.col("scale__volatile") > 1)["r"].std()
    quieter = rows.filter(pl.col("scale__volatile") < -1)["r"].std()
    assert louder > 1.3 * quieter


def test_some_leave_some_arrive_late_some_skip(table: pl.DataFrame) -> None:
    days = sorted(table["date"].unique())
    spans = table.group_by("code").agg(
        first=pl.col("date").min(), last=pl.col("date").max(), rows=pl.len()
    )
    assert spans.filter(pl.col("last") < days[-1]).height == 3
    assert spans.filter(pl.col("first") > days[0]).height == 2
    whole = spans.filter((pl.col("first") == days[0]) & (pl.col("last") == days[-1]))
    assert whole.filter(pl.col("rows") < len(days)).height == 3


def test_missing_cells_have_their_share_and_the_oracle_none(table: pl.DataFrame) -> None:
    features = [n for n in table.columns if "__" in n and n not in ORACLE]
    missing = table.select(features).null_count().sum_horizontal().item()
    assert missing / (table.height * len(features)) == pytest.approx(0.01, abs=0.002)
    assert table.select(ORACLE).null_count().sum_horizontal().item() == 0


def test_a_small_market_keeps_the_stocks_a_day_needs(tmp_path: Path) -> None:
    table = market(tmp_path, days=130, stocks=22, delisted_share=0.5)
    assert table.group_by("date").len()["len"].min() >= PackConfig().min_stocks_per_day


def test_the_panel_store_takes_it(tmp_path: Path) -> None:
    config = DataConfig(synthetic=SyntheticConfig(days=130, stocks=30))
    source = synthetic_table(config.synthetic, config, tmp_path / "market.parquet")
    panel = pack_table(source, tmp_path / "panel", config)
    assert panel.manifest.oracle_parts == tuple(PART_SHARES)
    assert panel.oracle is not None
    share = oracle_share(panel.oracle.sum(axis=2), panel.oracle, panel.alive)
    assert share.total == pytest.approx(1.0)


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.pq, "write_table", full)
    with pytest.raises(VolumeError, match=r"No space left on device\); free space"):
        market(tmp_path, days=130, stocks=30)
    assert list(tmp_path.iterdir()) == []
