"""A tidy Parquet table → a panel store, streamed, in bounded memory, atomically.

    panel = pack_table(Path("features.parquet"), Path("volume/panels/us-1a2b"), DataConfig())

One pass over the narrow columns finds cells and labels (`table`); features are then normalised on
each day across its live stocks, some columns at a time (`pack_features`). The result does not
depend on the order of rows or their cut into files. Everything is written beside `out` and renamed
at the end, manifest last (`store_files`): a builder that is interrupted has built nothing, and the
same call begins anew.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.table import ORACLE_PREFIX, Rows, Table, open_table, read_rows
from atft_hpo.data.store.columns import infinite_error
from atft_hpo.data.store.labels import close_prices, dense, known_returns, label_tensor
from atft_hpo.data.store.pack_features import write_features
from atft_hpo.data.store.panel import (
    STORE_VERSION,
    UNKNOWN_SECTOR,
    FeatureSpec,
    FileRecord,
    Panel,
    PanelManifest,
    features_sha256,
)
from atft_hpo.data.store.store_files import staged_store, write_file
from atft_hpo.errors import DataError
from atft_hpo.paths import PanelPaths
from atft_hpo.progress import Progress, silent


def pack_table(table: Path, out: Path, config: DataConfig, progress: Progress = silent) -> Panel:
    """Pack `table` (a Parquet file or a directory of them) into the store `out`, and open it.

    Columns: date, code, numeric features named `<family>__<name>`; optional sector, alive (in the
    universe that day), close, target_{h}d, return_1d, traded_value (price × volume, for the
    liquidity style), oracle__<part>. Labels are the target columns given, else derived from close.
    A row that is not alive has no features, and its label counts nowhere but in the result of a
    position still held.

    Raises:
        DataError: the table cannot be used as it is; the text names column, date and count.
        VolumeError: `out` cannot be written.
        PanelStoreError: `out` holds another panel.
    """
    source = open_table(table, config.horizons_days)
    progress(f"reading keys and labels of {len(source.files)} file(s)")
    rows = read_rows(source)
    alive_DN = dense(rows, rows.alive_R, missing=0) > 0
    _check_universe(rows, alive_DN, config)
    with staged_store(out) as stage:
        paths = PanelPaths(stage)
        files, report = _write_market(paths, rows, source, alive_DN, config)
        record, features, findings = write_features(paths, rows, source, config, progress)
        files[paths.features.name] = record
        manifest = _manifest(rows, source, config, features, files, findings | report)
        write_file(paths.manifest, [np.frombuffer(manifest.encode(), dtype=np.uint8)])
    return Panel.open(out)


def _check_universe(rows: Rows, alive_DN: NDArray[np.bool_], config: DataConfig) -> None:
    stocks_D = alive_DN.sum(axis=1)
    short = np.flatnonzero(stocks_D < config.pack.min_stocks_per_day)
    if len(short):
        raise DataError(
            f"{len(short)} day(s) have fewer than {config.pack.min_stocks_per_day} stocks alive, "
            f"first {rows.dates[short[0]]} with {stocks_D[short[0]]}; remove those days or lower "
            "data.pack.min_stocks_per_day"
        )


def _write_market(
    paths: PanelPaths, rows: Rows, table: Table, alive_DN: NDArray[np.bool_], config: DataConfig
) -> tuple[dict[str, FileRecord], dict[str, Any]]:
    """Everything but features; returns file records and facts for the manifest's report."""
    horizons, delay = config.horizons_days, config.delay_days
    infinite = _infinite_numbers(rows, config)
    close_DN = close_prices(rows, table)
    targets_DNQ = label_tensor(rows, table, close_DN, horizons, delay)
    returns_DN = known_returns(rows, table, close_DN, targets_DNQ[..., 0], delay)
    files = {
        paths.alive.name: write_file(paths.alive, [alive_DN]),
        paths.targets.name: write_file(paths.targets, [targets_DNQ]),
        paths.returns.name: write_file(paths.returns, [returns_DN]),
    }
    if "traded_value" in table.optional:
        value_DN = _traded_value(rows)
        files[paths.traded_value.name] = write_file(paths.traded_value, [value_DN])
    if table.oracle:
        parts = [dense(rows, rows.numbers[ORACLE_PREFIX + part]) for part in table.oracle]
        oracle_DNO = np.stack(parts, axis=-1).astype(np.float32)
        files[paths.oracle.name] = write_file(paths.oracle, [oracle_DNO])
    labels = (~np.isnan(targets_DNQ) & alive_DN[..., None]).sum(axis=(0, 1))
    close_R = rows.numbers.get("close", np.empty(0))
    return files, {
        "rows": len(rows.day_R),
        "rows_not_alive": int((~rows.alive_R).sum()),
        "labels": {f"{h}d": int(n) for h, n in zip(horizons, labels, strict=True)},
        "closes_not_positive": int((close_R <= 0).sum()),
        "infinite_numbers": infinite,
        "ignored_columns": sorted(table.ignored),
        "input": table.report,
    }


def _traded_value(rows: Rows) -> NDArray[np.float32]:
    """[D, N]; NaN where missing, infinite or negative."""
    value_R = rows.numbers["traded_value"]
    valid = np.isfinite(value_R) & (value_R >= 0)
    return dense(rows, np.where(valid, value_R, np.nan)).astype(np.float32)


def _infinite_numbers(rows: Rows, config: DataConfig) -> dict[str, int]:
    """Counts of infinite prices and labels; they become missing, if the configuration says so."""
    counts = {name: np.isinf(values) for name, values in rows.numbers.items()}
    for name, infinite_R in counts.items():
        if infinite_R.any() and config.pack.infinite_value == "error":
            first = rows.dates[rows.day_R[infinite_R].min()]
            raise infinite_error(name, int(infinite_R.sum()), first)
    return {name: int(infinite.sum()) for name, infinite in counts.items() if infinite.any()}


def _manifest(
    rows: Rows,
    table: Table,
    config: DataConfig,
    features: tuple[FeatureSpec, ...],
    files: dict[str, FileRecord],
    report: dict[str, Any],
) -> str:
    sector_of_code, changes = _sectors(rows)
    manifest = PanelManifest(
        version=STORE_VERSION,
        dates=tuple(str(date) for date in rows.dates),
        codes=rows.codes,
        sectors=(UNKNOWN_SECTOR, *rows.sector_names),
        sector_of_code=sector_of_code,
        features=features,
        features_sha256=features_sha256(features),
        horizons_days=config.horizons_days,
        delay_days=config.delay_days,
        dtype=config.pack.dtype,
        rows=int(rows.alive_R.sum()),
        files=dict(sorted(files.items())),
        config=config.model_dump(mode="json", exclude={"path"}),
        report={**report, "sector_changes": changes},
        oracle_parts=table.oracle,
    )
    return manifest.model_dump_json(indent=1)


def _sectors(rows: Rows) -> tuple[tuple[int, ...], int]:
    """Sector of each stock on its first day with one (later ones are unknown then), and how many
    stocks have more than one."""
    sector_N = np.zeros(len(rows.codes), dtype=np.int64)
    known = np.flatnonzero(rows.sector_R >= 0)
    latest_first = known[np.argsort(-rows.day_R[known], kind="stable")]
    sector_N[rows.stock_R[latest_first]] = rows.sector_R[latest_first] + 1
    changed = rows.sector_R[known] + 1 != sector_N[rows.stock_R[known]]
    return tuple(int(s) for s in sector_N), len(np.unique(rows.stock_R[known][changed]))
