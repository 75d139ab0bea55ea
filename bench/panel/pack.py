"""How fast does a table of features become a panel store, and in how little memory?

    python -m bench.panel.pack                       # a tenth of the seed's stocks
    python -m bench.panel.pack --scale seed --out DIR --json FILE
    python -m bench.panel.pack --features PRICES.parquet   # and from daily prices to their store

Writes a Parquet table in pieces (kept in --out: 4,643,854 rows × 395 float32 columns at the seed's
scale, about 8 GB; the store takes 4 GB), then measures, each in a process of its own, with files
that the operating system has in memory if they fit:

    decode     what pyarrow needs to read the same files and nothing else, with all cores: the
               better of two runs
    write      a file of zeros of the size of the store, forced to disk
    pack       `pack_table`: seconds, peak of resident memory
    open       opening the store, and reading one day of it
    build_features   building features from daily prices, if asked for
    pack_features    packing those

Asked: throughput at least half of decoding's, at most 2 GiB resident, opened within 100 ms;
features of the Japanese panel within 60 s and 6 GiB.
"""

import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.table import Table

from atft_hpo.config.data_schema import DataConfig, FeaturesConfig, PackConfig
from atft_hpo.data.features.build import build_features
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel
from bench.measuring.console import wide_console
from bench.measuring.processes import begin_worker
from bench.panel.random_table import SEED_DAYS, SEED_FEATURES, SEED_ROWS, write_table

SCALES = {"seed": SEED_ROWS, "tenth": SEED_ROWS // 10, "small": 40 * SEED_DAYS}
TARGET_SHARE = 0.5
"""Throughput of packing, of decoding's."""
TARGET_GIB = 2.0
TARGET_OPEN_SECONDS = 0.1
console = wide_console()


def main(
    scale: Annotated[Literal["seed", "tenth", "small"], typer.Option()] = "tenth",
    out: Annotated[Path | None, typer.Option(help="Keep the table here.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
    prices: Annotated[
        Path | None, typer.Option("--features", help="Daily prices to build features of.")
    ] = None,
    universe: Annotated[
        str | None, typer.Option(help="Boolean column of those prices: who is in the universe.")
    ] = None,
) -> None:
    """Time packing against decoding."""
    if universe and not prices:
        raise typer.BadParameter("is a column of the prices that --features names; give both")
    with tempfile.TemporaryDirectory(prefix="atft-pack-", dir=out and out.parent) as folder:
        place = out or Path(folder) / "table"
        started = time.monotonic()
        files = write_table(place, SCALES[scale], SEED_FEATURES)
        size = sum(file.stat().st_size for file in files)
        written = time.monotonic() - started
        console.print(f"{len(files)} files, {size / 1e9:.1f} GB, written in {written:.0f} s")
        result = measured(scale, files, Path(folder) / "store")
        if prices:
            config = DataConfig(
                source="ohlcv",
                features=FeaturesConfig(universe_column=universe),
                pack=PackConfig(constant_column="drop", min_stocks_per_day=1),
            )
            built = Path(folder) / "features"
            result["build_features"] = _apart(build_features, prices, built, config)
            result["pack_features"] = _apart(_pack, built, Path(folder) / "store", config)
    console.print(table(result))
    if json_file:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measured(scale: str, files: list[Path], store: Path) -> dict[str, Any]:
    """Seconds and memory of decoding, packing, opening."""
    for file in files:
        file.read_bytes()
    decode = min((_apart(_decode, files) for _ in range(2)), key=lambda run: run["seconds"])
    write = _apart(_write, store.with_name("zeros"), 2 * SCALES[scale] * SEED_FEATURES)
    pack = _apart(_pack, files[0].parent, store, DataConfig(source="features"))
    opened = _apart(_open, store)
    shutil.rmtree(store)
    return {
        "scale": scale,
        "rows": SCALES[scale],
        "features": SEED_FEATURES,
        "parquet_bytes": sum(file.stat().st_size for file in files),
        "cores": len(os.sched_getaffinity(0)),
        "pyarrow": pa.__version__,
        "decode": decode,
        "write": write,
        "pack": pack,
        "open": opened,
        "throughput_share_of_decoding": decode["seconds"] / pack["seconds"],
    }


def _apart(action: Callable[..., object], *arguments: Any) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin_worker) as pool:
        return pool.submit(_timed, action, arguments).result()


def _timed(action: Callable[..., object], arguments: tuple[Any, ...]) -> dict[str, float]:
    started, cpu = time.perf_counter(), time.process_time()
    action(*arguments)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20),
    }


def _decode(files: list[Path]) -> None:
    for path in files:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)


def _write(path: Path, size: int) -> None:
    chunk = bytes(1 << 24)
    with path.open("wb") as file:
        for start in range(0, size, len(chunk)):
            file.write(chunk[: size - start])
        os.fsync(file.fileno())
    path.unlink()


def _pack(folder: Path, store: Path, config: DataConfig) -> None:
    pack_table(folder, store, config)


def _open(store: Path) -> None:
    panel = Panel.open(store)
    panel.features_tensor(slice(0, 1)).float().sum()


def table(result: dict[str, Any]) -> Table:
    """One row per step."""
    rows = Table("", "seconds", "CPU seconds", "peak GiB", box=None)
    for name in ("decode", "write", "pack", "open", "build_features", "pack_features"):
        if not (step := result.get(name)):
            continue
        rows.add_row(
            name, f"{step['seconds']:.2f}", f"{step['cpu_seconds']:.1f}",
            f"{step['peak_rss_gib']:.2f}",
        )  # fmt: skip
    share = result["throughput_share_of_decoding"]
    rows.caption = f"throughput of packing: {share:.2f} of decoding's (asked: {TARGET_SHARE})"
    return rows


if __name__ == "__main__":
    typer.run(main)
