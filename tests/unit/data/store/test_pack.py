import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from atft_hpo.config.data_schema import DataConfig, PackConfig
from atft_hpo.data.array_statistics.ranks import normal_scores
from atft_hpo.data.ingest.feature_columns import FeatureColumns
from atft_hpo.data.store.feature_file import FeatureFile
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import DataError, PanelStoreError, VolumeError

INFINITE_ON_SEVENTHS = pl.when(pl.col("date").dt.day() == 7).then(np.inf).otherwise(1.0)
STORE_FILES = {
    "features.bin", "present.bin", "alive.bin", "tradable.bin", "sector.bin", "targets.bin",
    "returns.bin", "manifest.json",
}  # fmt: skip


def contents(panel: Panel) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in panel.root.iterdir() if p.name in STORE_FILES}


def with_pack(config: DataConfig, **changes) -> DataConfig:
    return config.model_copy(update={"pack": PackConfig(**changes)})


def cell(panel: Panel, date: str, code: str) -> tuple[int, int]:
    return panel.manifest.dates.index(date), panel.manifest.codes.index(code)


# What is written


def test_store_holds_its_files_and_nothing_else(panel):
    assert {p.name for p in panel.root.iterdir()} >= STORE_FILES
    assert not [p for p in panel.root.parent.iterdir() if p.name.endswith(".tmp")]
    panel.verify()


def test_features_are_normalised_over_the_live_stocks_of_the_day(panel, market):
    day = market.filter(pl.col("date") == date(2020, 2, 10)).sort("code")
    d = panel.manifest.dates.index("2020-02-10")
    f = panel.feature_names.index("ranks__volume")
    live = panel.alive[d]
    assert live.sum() == len(day) == 29
    volume = day["ranks__volume"].to_numpy()
    expected = np.nan_to_num(normal_scores(volume.astype(np.float32)[None])[0])
    np.testing.assert_allclose(panel.features[d, live, f], expected, atol=2e-3)


def test_dead_cells_have_neither_features_nor_life(panel):
    d, n = cell(panel, "2020-06-01", "S002")
    assert not panel.alive[d:, n].any()
    assert (panel.features[d:, n] == 0).all()


def test_calendar_features_survive(panel):
    f = panel.feature_names.index("calendar__weekday")
    d, n = cell(panel, "2020-01-02", "S000")
    assert panel.features[d, n, f] == -0.5


def test_labels_are_forward_returns_after_the_delay(panel, market):
    close = market.filter(pl.col("code") == "S005").sort("date")["close"].to_numpy()
    _, n = cell(panel, "2020-01-01", "S005")
    np.testing.assert_allclose(panel.targets[:-2, n, 0], close[2:] / close[1:-1] - 1, rtol=1e-5)
    np.testing.assert_allclose(panel.targets[:-6, n, 1], close[6:] / close[1:-5] - 1, rtol=1e-5)
    assert np.isnan(panel.targets[-2:, n, 0]).all()
    assert np.isnan(panel.targets[-6:, n, 1]).all()


def test_label_that_reaches_past_the_delisting_is_marked_to_the_last_close(panel, market):
    _, n = cell(panel, "2020-01-01", "S002")
    last = np.flatnonzero(panel.alive[:, n])[-1]
    close = market.filter(pl.col("code") == "S002").sort("date")["close"].to_numpy()
    assert np.isnan(panel.targets[last, n]).all(), "no entry after the last row"
    assert (panel.targets[last - 1, n] == 0.0).all()
    assert panel.targets[last - 3, n, 1] == np.float32(close[-1] / close[-3] - 1)
    labels = np.isfinite(panel.targets[..., 0]) & panel.alive
    assert panel.manifest.report["labels"]["1d"] == labels.sum()


def test_returns_are_those_known_at_the_close(panel, market):
    close = market.filter(pl.col("code") == "S005").sort("date")["close"].to_numpy()
    _, n = cell(panel, "2020-01-01", "S005")
    assert np.isnan(panel.returns[0, n])
    np.testing.assert_allclose(panel.returns[1:, n], close[1:] / close[:-1] - 1, rtol=1e-5)


def test_given_targets_are_kept_and_give_the_returns_once_realised(pack, market):
    given = market.sort("date").with_columns(
        target_1d=(pl.col("close") / 100).cast(pl.Float64), target_5d=pl.lit(0.5)
    )
    panel = pack(given.drop("close"))
    _, n = cell(panel, "2020-01-01", "S005")
    close = market.filter(pl.col("code") == "S005").sort("date")["close"].to_numpy()
    np.testing.assert_allclose(panel.targets[:, n, 0], close / 100, rtol=1e-6)
    assert np.isnan(panel.returns[:2, n]).all()
    np.testing.assert_array_equal(panel.returns[2:, n], panel.targets[:-2, n, 0])


def test_a_return_column_is_preferred(pack, market):
    panel = pack(market.with_columns(return_1d=pl.lit(0.25)))
    assert (panel.returns[panel.alive] == np.float32(0.25)).all()
    assert "return_1d" not in panel.feature_names


def test_oracle_parts_are_kept_apart_from_features(pack, market):
    table = market.with_columns(oracle__cycle=pl.lit(0.5), oracle__sector=pl.lit(-1.0))
    panel = pack(table)
    assert panel.manifest.oracle_parts == ("cycle", "sector")
    assert not [name for name in panel.feature_names if "oracle" in name]
    np.testing.assert_array_equal(panel.oracle[panel.alive], [[0.5, -1.0]] * panel.alive.sum())
    panel.verify()


def test_rows_out_of_the_universe_do_not_count(pack, market):
    universe = pl.when(pl.col("code") == "S003").then(None).otherwise(pl.col("code") != "S004")
    panel = pack(market.with_columns(alive=universe), "with")
    gone = [panel.manifest.codes.index(code) for code in ("S003", "S004")]
    assert not panel.alive[:, gone].any()
    assert panel.present[:, gone].all()
    assert (panel.features[:, gone] != 0).any(), "they have a past, should they enter"
    without = pack(market.filter(~pl.col("code").is_in(["S003", "S004"])), "without")
    rest = np.setdiff1d(np.arange(30), gone)
    np.testing.assert_array_equal(panel.features[:, rest], without.features)
    assert panel.manifest.report["rows_not_alive"] == 320


def test_a_stock_has_the_sector_of_the_day(pack, market):
    late = (pl.col("code") == "S000") & (pl.col("date") > date(2020, 3, 1))
    moved = pl.when(late).then(pl.lit("zzz")).otherwise(pl.col("sector"))
    unknown = pl.when(pl.col("code") == "S001").then(None).otherwise(moved)
    panel = pack(market.with_columns(sector=unknown))
    names = np.array(panel.manifest.sectors)[panel.sector[:, :3]]
    assert names[0].tolist() == ["sector 0", "unknown", "sector 2"]
    assert names[-1].tolist() == ["zzz", "unknown", "sector 2"]
    assert (names[:, 0] == "zzz").tolist() == (panel.dates > np.datetime64("2020-03-01")).tolist()
    assert panel.manifest.report["sector_changes"] == 1


def test_bfloat16_store(pack, market, data_config):
    full = pack(market, "half")
    panel = pack(market, "bf16", with_pack(data_config, dtype="bfloat16"))
    x = panel.features_tensor(slice(None))
    assert x.dtype == torch.bfloat16
    np.testing.assert_allclose(x.float(), full.features.astype(np.float32), rtol=2**-7, atol=1e-3)


def test_only_known_columns_have_a_meaning_the_rest_are_features(panel, pack, market):
    extra = market.with_columns(target_3d=pl.lit(1.0), note=pl.lit("x"), flag=pl.col("noise") > 0)
    packed = pack(extra)
    assert packed.feature_names == (*panel.feature_names, "flag")
    assert packed.manifest.report["ignored_columns"] == ["note", "target_3d"]
    assert {s.name: s.family for s in panel.manifest.features}["noise"] == "other"


# The same bytes however the table is cut; nothing of the future


def test_files_row_groups_and_row_order_do_not_matter(panel, market, data_config, tmp_path):
    shuffled = market.sample(fraction=1.0, shuffle=True, seed=1)
    folder = tmp_path / "parts"
    folder.mkdir()
    for k in range(3):
        columns = market.columns if k else market.columns[::1]
        part = shuffled[k::3].select(columns)
        part.write_parquet(folder / f"part-{k}.parquet", row_group_size=97)
    many = pack_table(folder, tmp_path / "many", data_config)
    assert contents(many) == contents(panel)
    assert many.fingerprint == panel.fingerprint


def test_blocks_of_days_do_not_matter(panel, market, pack, monkeypatch):
    monkeypatch.setattr("atft_hpo.data.ingest.row_blocks._BLOCK_CELLS", 30 * 7)
    monkeypatch.setattr("atft_hpo.data.ingest.feature_columns.BATCH_ROWS", 333)
    monkeypatch.setattr("atft_hpo.data.ingest.feature_columns._COLUMNS_AT_ONCE", 2)
    monkeypatch.setattr("atft_hpo.data.store.pack_features._COLUMNS_BYTES", 4 * len(market) * 3)
    assert contents(pack(market)) == contents(panel)


@pytest.mark.parametrize("order", [["date", "code"], ["code", "date"], ["noise"]])
def test_features_are_those_of_a_naive_route_day_by_day(pack, market, data_config, order):
    """Stock by stock and day by day, in float64 and without blocks, batches or threads."""
    panel = pack(market.sort(order), "sorted")
    kinds = {spec.name: spec.normalisation for spec in panel.manifest.features}
    for day in market.sort("code").partition_by("date"):
        d = panel.manifest.dates.index(str(day["date"][0]))
        for f, name in enumerate(panel.feature_names):
            x = day[name].cast(pl.Float32).fill_null(np.nan).to_numpy().astype(np.float64)
            found = panel.features[d, panel.alive[d], f].astype(np.float64)
            np.testing.assert_allclose(found, naive(kinds[name], x), rtol=1e-3, atol=1e-3)


def naive(kind, x):
    """What a day's values become: the definitions in `normalise`, by scipy."""
    if np.isnan(x).all() or (kind != "none" and np.nanmin(x) == np.nanmax(x)):
        return np.zeros_like(x)
    if kind == "rank_gauss":
        z = norm.ppf((rankdata(x, nan_policy="omit") - 0.5) / (~np.isnan(x)).sum())
    elif kind == "none":
        z = x
    else:
        centred = x - (np.nanmedian(x) if kind == "robust_z" else 0.0)
        z = centred / (1.4826 * np.nanmedian(np.abs(centred)))
    return np.nan_to_num(np.clip(z, -8, 8))


@settings(max_examples=6, deadline=None)
@given(after=st.integers(60, 140), seed=st.integers(0, 9))
def test_changing_the_future_changes_nothing_before_it(
    tmp_path_factory, market, panel, data_config, after, seed
):
    rng = np.random.default_rng(seed)
    cut = pl.lit(str(panel.dates[after])).str.to_date()
    noise = pl.Series(rng.uniform(0.5, 2.0, len(market)))
    future = pl.col("date") > cut
    columns = ["close", "returns__1d", "momentum__10d", "ranks__volume", "noise"]
    changed = market.with_columns(
        pl.when(future).then(pl.col(c) * noise).otherwise(pl.col(c)) for c in columns
    )
    changed = changed.filter(~future | (pl.Series(rng.random(len(market))) > 0.1))
    folder = tmp_path_factory.mktemp("future")
    changed.write_parquet(folder / "t.parquet")
    other = pack_table(folder / "t.parquet", folder / "store", data_config)
    upto = slice(0, after + 1)
    assert np.array_equal(other.features[upto], panel.features[upto])
    assert np.array_equal(other.alive[upto], panel.alive[upto])
    assert np.array_equal(other.returns[upto], panel.returns[upto], equal_nan=True)
    assert not np.array_equal(other.features, panel.features)
    for q, horizon in enumerate(data_config.horizons_days):
        known = slice(0, after + 1 - horizon - data_config.delay_days)
        assert np.array_equal(
            other.targets[known, :, q], panel.targets[known, :, q], equal_nan=True
        )


# What is refused, in one line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: pl.concat([t, t[:2]]),
            r"2 \(date, code\) pair\(s\) occur more than once, such as \(2020-01-01, S000\)",
        ),
        (lambda t: t.rename({"code": "cod"}), r"no column 'code'; did you mean 'cod'"),
        (
            lambda t: t.drop("close"),
            r"no column 'target_1d' or column 'close' to derive labels from",
        ),
        (
            lambda t: t.with_columns(noise=pl.lit(None, pl.Float64)),
            "column 'noise' is null in every live row",
        ),
        (
            lambda t: t.with_columns(noise=pl.lit(2.5)),
            r"column 'noise' is constant \(2.5 everywhere\)",
        ),
        (
            lambda t: t.with_columns(noise=pl.col("calendar__weekday")),
            "column 'noise' is the same for all stocks on every day",
        ),
        (
            lambda t: t.with_columns(noise=INFINITE_ON_SEVENTHS),
            r"column 'noise' is infinite in \d+ row\(s\), first on 2020-01-07",
        ),
        (
            lambda t: t.with_columns(close=INFINITE_ON_SEVENTHS),
            r"column 'close' is infinite in \d+ row\(s\), first on 2020-01-07",
        ),
        (lambda t: t.with_columns(date=pl.lit("soon")), "column 'date' holds 'soon'"),
        (
            lambda t: t.with_columns(date=pl.lit(None, pl.Date)),
            r"column 'date' is null in [\d,]+ row",
        ),
        (
            lambda t: t.with_columns(code=pl.lit(None, pl.String)),
            r"column 'code' is null in [\d,]+ row",
        ),
        (
            lambda t: t.with_columns(alive=pl.lit("perhaps")),
            "column 'alive' holds 'perhaps'; expected true or false",
        ),
        (
            lambda t: t.select("date", "code", "close"),
            "no numeric feature column; found date, code, close",
        ),
        (
            lambda t: t.filter(pl.col("date").dt.day() < 3).filter(pl.col("code") < "S010"),
            "12 day.s. have fewer than 20 stocks alive, first 2020-01-01 with 9",
        ),
        (
            lambda t: t.filter(pl.col("date") < date(2020, 1, 7)),
            "no label for horizon 5 days: 6 days of data",
        ),
        (lambda t: t[:0], "no rows"),
    ],
)
def test_bad_tables_are_refused_by_name(pack, market, tmp_path, change, message):
    with pytest.raises(DataError, match=message) as error:
        pack(change(market))
    assert "\n" not in str(error.value)
    assert {p.name for p in tmp_path.iterdir()} == {"panel.parquet"}


def test_useless_columns_are_dropped_and_reported_on_request(pack, market, data_config):
    config = with_pack(data_config, constant_column="drop")
    table = market.with_columns(flat=pl.lit(1), day=pl.col("calendar__weekday"))
    panel = pack(table, config=config)
    assert set(panel.manifest.report["dropped_columns"]) == {"flat", "day"}
    assert panel.features.shape[2] == len(panel.feature_names) == 5


def test_all_columns_useless_is_an_error_even_then(pack, market, data_config):
    table = market.select("date", "code", "close", flat=pl.lit(1))
    with pytest.raises(DataError, match="all 1 feature columns are constant"):
        pack(table, config=with_pack(data_config, constant_column="drop"))


def test_infinite_values_become_missing_on_request(pack, market, data_config):
    table = market.with_row_index().with_columns(
        noise=pl.when(pl.col("index") == 77).then(-np.inf).otherwise(pl.col("noise"))
    )
    panel = pack(table.drop("index"), config=with_pack(data_config, infinite_value="null"))
    assert panel.manifest.report["infinite_values"] == {"noise": 1}
    assert panel.manifest.report["missing_shares"]["noise"] == pytest.approx(
        1 / len(market), rel=0.1
    )
    assert np.isfinite(panel.features).all()


def test_files_with_other_columns_are_named(market, data_config, tmp_path):
    market[::2].write_parquet(tmp_path / "a.parquet")
    market[1::2].rename({"noise": "Noise"}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet: no column 'noise', a feature in other files"):
        pack_table(tmp_path, tmp_path / "out", data_config)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "no table in it"),
        (lambda path: path.write_bytes(b"PAR1 not really"), "cannot be read as Parquet"),
    ],
)
def test_no_table_there(tmp_path, data_config, prepare, message):
    prepare(tmp_path / "t")
    with pytest.raises(DataError, match=message):
        pack_table(tmp_path / "t", tmp_path / "out", data_config)


# Full disks, races, leftovers


@pytest.mark.parametrize("size", [100, 10_000, 45_000])
def test_after_a_full_disk_nothing_is_left_and_the_same_call_packs(
    pack, market, data_config, tmp_path, file_size_limit, size
):
    market.write_parquet(tmp_path / "t.parquet")
    with (
        file_size_limit(size),
        pytest.raises(VolumeError, match=r"out: cannot be written \(.+\); free space"),
    ):
        pack_table(tmp_path / "t.parquet", tmp_path / "out", data_config)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    panel = pack_table(tmp_path / "t.parquet", tmp_path / "out", data_config)
    assert panel.fingerprint == pack(market).fingerprint
    assert not list(tmp_path.glob(".*"))


@pytest.fixture
def pieces(market, tmp_path, monkeypatch):
    """The market in three files; blocks of 20 days, and two columns at a time."""
    monkeypatch.setattr("atft_hpo.data.ingest.row_blocks._BLOCK_CELLS", 30 * 20)
    monkeypatch.setattr("atft_hpo.data.store.pack_features._COLUMNS_BYTES", 4 * len(market) * 2)
    folder = tmp_path / "pieces"
    folder.mkdir()
    for i, part in enumerate(market.partition_by("sector")):
        part.write_parquet(folder / f"{i}.parquet")
    return folder


def dying(monkeypatch, method, calls):
    """Interrupts the builder at the given call of a method; returns the calls heard."""
    heard = []
    original = getattr(*method)

    def die(self, *args, **options):
        heard.append(args)
        if len(heard) == calls:
            raise KeyboardInterrupt
        return original(self, *args, **options)

    monkeypatch.setattr(*method, die)
    return heard


READ, RENAME = (FeatureColumns, "read"), (Path, "rename")
PUT, APPEND, FINISH = ((FeatureFile, method) for method in ("put", "append", "finish"))


@pytest.mark.parametrize(
    ("method", "calls"),
    [(READ, 1), (READ, 3), (PUT, 11), (APPEND, 1), (APPEND, 6), (FINISH, 1), (RENAME, 1)],
)
def test_an_interrupted_packing_leaves_nothing_and_begins_anew(
    pack, market, pieces, data_config, tmp_path, monkeypatch, method, calls
):
    uninterrupted = pack(market).fingerprint
    before = set(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        dying(patch, method, calls)
        with pytest.raises(KeyboardInterrupt):
            pack_table(pieces, tmp_path / "out", data_config)
    assert set(tmp_path.iterdir()) == before
    read, appended = dying(monkeypatch, READ, 0), dying(monkeypatch, APPEND, 0)
    panel = pack_table(pieces, tmp_path / "out", data_config)
    assert panel.fingerprint == uninterrupted
    panel.verify()
    assert [len(names) for names, _ in read] == [2, 2, 1]
    assert len(appended) == 8
    assert {p.name for p in panel.root.iterdir()} == STORE_FILES
    assert not list(tmp_path.glob(".*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest import row_blocks
from atft_hpo.data.store import feature_file, pack, pack_features

table, out, method, calls = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
row_blocks._BLOCK_CELLS, pack_features._COLUMNS_BYTES = 30 * 20, 4 * 4000 * 2
owner = Path if method == "rename" else feature_file.FeatureFile
original, heard = getattr(owner, method), []

def die(self, *args):
    heard.append(args)
    if len(heard) == calls:
        if method in ("put", "append"):
            self._write(args[-1][: len(args[-1]) // 2], 0 if method == "put" else self._size)
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *args)

setattr(owner, method, die)
pack.pack_table(table, out, DataConfig(source="features", horizons_days=(1, 5)))
"""


@pytest.mark.parametrize(
    ("method", "calls"), [("put", 13), ("append", 4), ("finish", 1), ("rename", 1)]
)
def test_what_a_killed_builder_left_is_no_store_and_gone_after_the_next(
    pack, market, pieces, data_config, tmp_path, method, calls
):
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(pieces), str(out), method, str(calls)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (remains,) = tmp_path.glob(".*")
    assert not out.exists()
    for path in (out, remains):
        with pytest.raises(PanelStoreError):
            Panel.open(path)
    panel = pack_table(pieces, out, data_config)
    assert panel.fingerprint == pack(market).fingerprint
    panel.verify()
    assert {p.name for p in panel.root.iterdir()} == STORE_FILES
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("whose", ["older", "whole", "empty"])
def test_remains_have_no_part_in_the_next_store(pack, market, pieces, data_config, tmp_path, whose):
    """An older version's, with its journal; a whole store of another table; the mere place."""
    expected = pack(market).fingerprint
    other = pack(market.with_columns(noise=pl.col("noise") * pl.col("close")), "other")
    remains = tmp_path / ".out.0123abcd.store"
    remains.mkdir()
    (remains / "lock").touch()
    if whose == "older":
        shutil.copytree(other.root, remains, dirs_exist_ok=True)
        (remains / "journal.npz").write_bytes(b"PK")
    elif whose == "whole":
        shutil.copytree(other.root, remains / "out")
    panel = pack_table(pieces, tmp_path / "out", data_config)
    assert panel.fingerprint == expected
    panel.verify()
    assert {p.name for p in panel.root.iterdir()} == STORE_FILES
    assert not list(tmp_path.glob(".*"))


def test_dropped_columns_leave_no_trace_in_blocks_of_days(pack, market, pieces, data_config):
    config = with_pack(data_config, constant_column="drop")
    market = market.with_columns(flat=pl.lit(1), noise=pl.col("calendar__weekday"))
    for i, part in enumerate(market.partition_by("sector")):
        part.write_parquet(pieces / f"{i}.parquet")
    panel = pack_table(pieces, pieces.with_name("out"), config)
    assert panel.feature_names == (
        "returns__1d", "momentum__10d", "ranks__volume", "calendar__weekday",
    )  # fmt: skip
    panel.verify()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atft_hpo.data.ingest.row_blocks._BLOCK_CELLS", 1 << 15)
        assert panel.fingerprint == pack(market, config=config).fingerprint


def test_a_place_that_cannot_be_written_is_named(market, data_config, tmp_path):
    market.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(VolumeError, match=r"t\.parquet/out: cannot be written"):
        pack_table(tmp_path / "t.parquet", tmp_path / "t.parquet" / "out", data_config)


def test_packing_twice_to_one_place_keeps_the_first(pack, market):
    first = pack(market)
    assert pack(market).fingerprint == first.fingerprint
    assert not list(first.root.parent.glob(".*.tmp"))


def test_another_panel_in_the_place_is_not_overwritten(pack, market):
    first = pack(market)
    with pytest.raises(PanelStoreError, match="holds another panel already"):
        pack(market.with_columns(noise=pl.col("noise") * pl.col("close")))
    first.verify()
    shutil.rmtree(first.root)
    pack(market.with_columns(noise=pl.col("noise") * pl.col("close")))
