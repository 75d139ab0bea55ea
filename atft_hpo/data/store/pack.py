"""A tidy table → a panel store, streamed, in bounded memory, atomically.

    panel = pack_table(Path("features.parquet"), Path("volume/panels/us-1a2b"), DataConfig())

One pass over the narrow columns finds cells and labels (`table`); features are then normalised on
each day across its universe, some columns at a time (`pack_features`). The result does not depend
on the order of rows or their cut into files. Everything is written beside `out` and renamed at the
end, manifest last (`store_files`): a builder that is interrupted has built nothing, and the same
call begins anew.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.table import ORACLE_PREFIX, Rows, Table, open_table, read_rows
from atft_hpo.data.store.columns import infinite_error
from atft_hpo.data.store.labels import (
    close_prices,
    dense,
    known_returns,
    label_tensor,
    next_tradable,
)
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
from atft_hpo.data.store.suspicious_labels import mask_returns, mask_spans
from atft_hpo.data.suspicious.table_findings import REPORTED_AS, found_in_table
from atft_hpo.errors import DataError
from atft_hpo.paths import PanelPaths
from atft_hpo.progress import Progress, silent


def pack_table(table: Path, out: Path, config: DataConfig, progress: Progress = silent) -> Panel:
    """Pack `table` (a file or a directory of them) into the store `out`, and open it.

    Columns: date, code, numeric features named `<family>__<name>`; optional sector, alive (in the
    universe that day), tradable (at the day's close), suspicious (the return since the stock's row
    before; where absent, judged by its closes), close, target_{h}d, return_1d, traded_value (price
    × volume, for the liquidity style), oracle__<part>. Labels are the target columns given, else
    derived from close (`labels`). A row that is not alive has features, as the past of a stock that
    enters the universe later, and its return counts for positions still held; nothing is learned
    from it, and it is not scored.

    Raises:
        DataError: the table cannot be used as it is; the text names column, date and count.
        VolumeError: `out` cannot be written.
        PanelStoreError: `out` holds another panel.
    """
    with staged_store(out) as stage:
        source = open_table(table, config, stage.with_name(f"{out.name}.copies"), progress)
        progress(f"reading keys and labels of {len(source.sources)} file(s)")
        rows = read_rows(source, config, progress)
        alive_DN = dense(rows, rows.alive_R, missing=0) > 0
        _check_universe(rows, alive_DN, config)
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
    tradable_DN = dense(rows, rows.tradable_R, missing=0) > 0
    if close_DN is not None:
        tradable_DN &= np.isfinite(close_DN)
    targets_DNQ = label_tensor(rows, table, close_DN, tradable_DN, horizons, delay)
    returns_DN = known_returns(rows, table, close_DN, targets_DNQ[..., 0], delay)
    found, suspicious_R = found_in_table(table, rows)
    if config.suspicious_prices == "mask_label":
        suspicious_DN = dense(rows, suspicious_R, missing=0) > 0
        targets_DNQ = mask_spans(
            suspicious_DN, targets_DNQ, next_tradable(tradable_DN), horizons, delay
        )
        returns_DN = mask_returns(suspicious_DN, returns_DN)
    files = {
        paths.present.name: write_file(paths.present, [_present(rows)]),
        paths.alive.name: write_file(paths.alive, [alive_DN]),
        paths.tradable.name: write_file(paths.tradable, [tradable_DN]),
        paths.sector.name: write_file(paths.sector, [sectors_of_days(rows)]),
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
        "rows_not_tradable": len(rows.day_R) - int(tradable_DN.sum()),
        "labels": {f"{h}d": int(n) for h, n in zip(horizons, labels, strict=True)},
        "closes_not_positive": int((close_R <= 0).sum()),
        "infinite_numbers": infinite,
        "ignored_columns": sorted(table.ignored),
        "input": {name: said for name, said in table.report.items() if name != REPORTED_AS},
        "suspicious_prices": found.model_dump(mode="json") if found else None,
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
    manifest = PanelManifest(
        version=STORE_VERSION,
        dates=tuple(str(date) for date in rows.dates),
        codes=rows.codes,
        sectors=(UNKNOWN_SECTOR, *rows.sector_names),
        features=features,
        features_sha256=features_sha256(features),
        horizons_days=config.horizons_days,
        delay_days=config.delay_days,
        dtype=config.pack.dtype,
        rows=int(rows.alive_R.sum()),
        files=dict(sorted(files.items())),
        config=config.model_dump(mode="json", exclude={"path"}),
        report={**report, "sector_changes": _sector_changes(rows)},
        oracle_parts=table.oracle,
    )
    return manifest.model_dump_json(indent=1)


def _present(rows: Rows) -> NDArray[np.bool_]:
    return dense(rows, np.ones(len(rows.day_R)), missing=0) > 0


def sectors_of_days(rows: Rows) -> NDArray[np.int16]:
    """[D, N] indices into (unknown, *sector_names): of the day's row, else of the last before."""
    row_DN = dense(rows, np.arange(len(rows.day_R)), missing=-1)
    day_DN = np.where(row_DN >= 0, np.arange(len(row_DN))[:, None], -1)
    last_DN = np.maximum.accumulate(day_DN, axis=0)
    row_DN = np.take_along_axis(row_DN, np.maximum(last_DN, 0), axis=0).astype(np.int64)
    sector_DN = rows.sector_R[np.maximum(row_DN, 0)] + 1
    return np.where(last_DN >= 0, sector_DN, 0).astype(np.int16)


def _sector_changes(rows: Rows) -> int:
    """Stocks that have had more than one sector."""
    known = rows.sector_R >= 0
    shape = (len(rows.codes), len(rows.sector_names))
    had_NS = np.zeros(shape, dtype=np.bool_)
    had_NS[rows.stock_R[known], rows.sector_R[known]] = True
    return int((had_NS.sum(axis=1) > 1).sum())
