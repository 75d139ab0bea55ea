"""From a data configuration to an opened panel: built once, found again afterwards.

    panel = prepare_panel(config.data, settings.volume, print)

The store's name carries a hash of everything it depends on: the configuration, the input file's
identity, the version of this package. Builders that race do the work twice and keep one result.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atft_hpo import __version__
from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.features.build import build_features
from atft_hpo.data.ingest.tidy_files import parquet_files
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import STORE_VERSION, Panel
from atft_hpo.data.store.store_files import workplace
from atft_hpo.data.synthetic.market import MARKET_VERSION, synthetic_table
from atft_hpo.errors import ConfigError, DataError, VolumeError
from atft_hpo.paths import PanelPaths, Volume
from atft_hpo.progress import Progress, silent

_END_BYTES = 1 << 20


def prepare_panel(config: DataConfig, volume: Volume, progress: Progress = silent) -> Panel:
    """The panel of `config` in `volume`, built when it is not there yet.

    Raises:
        ConfigError: a source that needs `data.path` has none.
        DataError: the input is absent or cannot be used.
        VolumeError: the volume cannot be written.
    """
    out = panel_location(config, volume)
    if PanelPaths(out).manifest.is_file():
        return Panel.open(out)
    progress(f"building panel {out.name}")
    if config.source == "features":
        return pack_table(_input(config), out, config, progress)
    with _scratch(out) as folder:
        table = folder / ("market.parquet" if config.source == "synthetic" else "features")
        if config.source == "synthetic":
            progress("drawing a synthetic market")
            synthetic_table(config.synthetic, config, table)
        else:
            build_features(_input(config), table, config, progress)
        return pack_table(table, out, config, progress)


def panel_location(config: DataConfig, volume: Volume) -> Path:
    """Where the panel of `config` is, or would be built."""
    name = "synthetic" if config.source == "synthetic" else _input(config).stem
    return volume.panel(name, _digest(config))


def _digest(config: DataConfig) -> str:
    """Hash of what the store depends on; sections of other sources do not matter."""
    sections = {"synthetic": config.source == "synthetic", "features": config.source == "ohlcv"}
    unused = {name for name, used in sections.items() if not used}
    digest = hashlib.sha256(f"{__version__} {STORE_VERSION}".encode())
    digest.update(config.model_dump_json(exclude={"path", *unused}).encode())
    if config.source == "synthetic":
        digest.update(str(MARKET_VERSION).encode())
    else:
        for file in parquet_files(_input(config)):
            digest.update(_identity(file))
    return digest.hexdigest()


def _input(config: DataConfig) -> Path:
    if config.path is None:
        raise ConfigError(
            f"data.source is {config.source!r}, which needs Parquet input; give data.path or --data"
        )
    path = Path(config.path).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or directory; give data.path or --data")
    return path


def _identity(file: Path) -> bytes:
    """Size, time of last change, and hash of both ends: cheap, and enough to notice a new file."""
    try:
        status = file.stat()
        with file.open("rb") as stream:
            ends = hashlib.sha256(stream.read(_END_BYTES))
            stream.seek(max(0, status.st_size - _END_BYTES))
            ends.update(stream.read(_END_BYTES))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    return f"{status.st_size} {status.st_mtime_ns} {ends.hexdigest()}".encode()


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A directory beside `out` for the intermediate table."""
    try:
        with workplace(out, "table") as folder:
            yield folder
    except OSError as error:
        raise VolumeError(
            f"{out}: cannot be written ({error.strerror or error}); free space or give another "
            "volume, then run the same command again"
        ) from error
