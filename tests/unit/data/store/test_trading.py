from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from atft_hpo.config.data_schema import DataConfig, FeaturesConfig
from atft_hpo.data.features.build import build_features
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.trading import Trading

DAYS, STOCKS = 60, 24
FEATURES = FeaturesConfig(families=("returns",), windows_days=(1, 5))
CONFIG = DataConfig(source="ohlcv", horizons_days=(1, 5), features=FEATURES)
DATES = np.busday_offset("2019-05-06", np.arange(DAYS))


def prices() -> pl.DataFrame:
    """Random walks of stocks "1300" … on weekdays, with a sector."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (DAYS, STOCKS)), axis=0))
    return pl.DataFrame(
        {
            "date": np.repeat(DATES, STOCKS),
            "code": [str(1300 + n) for n in range(STOCKS)] * DAYS,
            "open": close.ravel() * np.exp(rng.normal(0, 0.003, close.size)),
            "high": 1.02 * close.ravel(),
            "low": 0.98 * close.ravel(),
            "close": close.ravel(),
            "volume": np.exp(rng.normal(11, 0.6, close.size)),
            "sector": [("Banks", "Retail")[n % 2] for n in range(STOCKS)] * DAYS,
        }
    )


def packed(table: pl.DataFrame, folder: Path, config: DataConfig = CONFIG) -> Panel:
    """The panel of these prices."""
    table.write_parquet(folder / "prices.parquet")
    features = build_features(folder / "prices.parquet", folder / "features", config)
    return pack_table(features, folder / "store", config)


def halted_then_half(table: pl.DataFrame) -> pl.DataFrame:
    """Stock 1300 has no row on 2019-06-05 and goes on at half its price."""
    own, day = pl.col("code") == "1300", pl.date(2019, 6, 5)
    halves = [
        pl.when(own & (pl.col("date") > day)).then(pl.col(c) / 2).otherwise(pl.col(c)).alias(c)
        for c in ("open", "high", "low", "close")
    ]
    return table.filter(~(own & (pl.col("date") == day))).with_columns(halves)


def day_of(panel: Panel, date: str) -> int:
    return int(np.searchsorted(panel.dates, np.datetime64(date)))


def test_a_halt_loses_neither_label_nor_position(tmp_path: Path) -> None:
    panel = packed(halted_then_half(prices()), tmp_path)
    monday = day_of(panel, "2019-06-03")
    close = prices().filter(pl.col("code") == "1300")["close"].to_numpy()
    jump = close[monday + 3] / 2 / close[monday + 1] - 1
    assert panel.targets[monday, 0, 0] == np.float32(jump)
    assert np.isnan(panel.targets[monday + 1, 0, 0]), "entry is on the day without a trade"
    assert np.isnan(panel.returns[monday + 2, 0])
    assert panel.returns[monday + 3, 0] == np.float32(jump)
    trading = Trading.of(panel, range(DAYS))
    np.testing.assert_allclose(trading.position_DN[monday : monday + 2, 0], [0.0, jump])
    assert trading.executable_DN[:, 0].tolist().index(False) == monday + 1
    assert trading.realised_D[monday] == np.datetime64("2019-06-05")


def test_a_delisting_books_its_return_on_the_day_after_the_last_row(tmp_path: Path) -> None:
    gone = prices().filter((pl.col("code") != "1301") | (pl.col("date") < pl.date(2019, 6, 20)))
    panel = packed(gone, tmp_path)
    last = day_of(panel, "2019-06-19")
    trading = Trading.of(panel, range(DAYS), delisting_return=-0.3)
    assert trading.position_DN[last - 1, 1] == np.float32(-0.3), "decided one day before the last"
    assert (trading.position_DN[last : DAYS - 2, 1] == 0.0).all()
    assert trading.listed_DN[:last, 1].all()
    assert not trading.listed_DN[last:, 1].any()
    assert (Trading.of(panel, range(DAYS)).position_DN[last - 1, 1]) == 0.0
    assert trading.listed_DN[:, 0].all(), "the others' rows end with the panel"


def test_a_part_of_the_days_is_the_part_of_the_whole(tmp_path: Path) -> None:
    panel = packed(halted_then_half(prices()), tmp_path)
    whole = Trading.of(panel, range(DAYS))
    for days in (range(5), range(20, 33), range(50, DAYS), range(DAYS - 1, DAYS)):
        part, span = Trading.of(panel, days), slice(days.start, days.stop)
        np.testing.assert_array_equal(part.position_DN, whole.position_DN[span])
        np.testing.assert_array_equal(part.executable_DN, whole.executable_DN[span])
        np.testing.assert_array_equal(part.listed_DN, whole.listed_DN[span])
        np.testing.assert_array_equal(part.realised_D, whole.realised_D[span])
    assert np.isnat(whole.realised_D).sum() == 2
    assert np.isnan(whole.position_DN[-2:]).all()


def test_labels_given_reach_past_what_returns_tell(pack: Callable[..., Panel]) -> None:
    rng = np.random.default_rng(1)
    table = (
        prices()
        .select("date", "code")
        .with_columns(
            pl.Series("target_1d", rng.normal(0, 0.01, DAYS * STOCKS).astype(np.float32)),
            pl.Series("x__a", rng.normal(size=DAYS * STOCKS).astype(np.float32)),
        )
    )
    panel = pack(table, config=DataConfig(source="features", horizons_days=(1,)))
    trading = Trading.of(panel, range(DAYS))
    np.testing.assert_array_equal(trading.position_DN, panel.targets[..., 0])


def test_the_sector_of_the_day_counts(tmp_path: Path) -> None:
    own, later = pl.col("code") == "1300", pl.col("date") >= pl.date(2019, 6, 10)
    moved = pl.when(own & later).then(pl.lit("Retail")).otherwise(pl.col("sector"))
    gap = pl.col("date") == pl.date(2019, 6, 12)
    panel = packed(prices().with_columns(sector=moved).filter(~(own & gap)), tmp_path)
    day = day_of(panel, "2019-06-10")
    names = np.array(panel.manifest.sectors)[panel.sector[:, 0]]
    assert set(names[:day]) == {"Banks"}
    assert set(names[day:]) == {"Retail"}
    assert panel.manifest.report["sector_changes"] == 1


def test_a_newcomer_has_its_past_and_waits_only_to_be_scored(tmp_path: Path) -> None:
    late = (pl.col("code") != "1305") | (pl.col("date") >= pl.date(2019, 7, 1))
    config = CONFIG.model_copy(
        update={"features": FEATURES.model_copy(update={"universe_column": "member"})}
    )
    panel = packed(prices().with_columns(member=late), tmp_path, config)
    entry = day_of(panel, "2019-07-01")
    assert not panel.alive[:entry, 5].any()
    assert panel.alive[entry:, 5].all()
    assert panel.present[:, 5].all()
    assert (panel.features[5:entry, 5] != 0).any(axis=1).all()
    everyone = packed(prices(), tmp_path_of(tmp_path), CONFIG)
    close = np.abs(panel.features.astype(float) - everyone.features.astype(float))
    assert close[entry:].max() == 0.0, "once it is a member nothing tells that it was none"


def tmp_path_of(folder: Path) -> Path:
    other = folder / "other"
    other.mkdir()
    return other
