"""The panel store: one dense tensor of features on disk, opened memory-mapped.

    panel = Panel.open(path)            # reads the manifest only
    x = panel.features_tensor(slice(0, 60))   # [60, N, F], no copy
    panel.verify()                      # reads every byte and compares checksums

A store is a directory whose names are in `paths.PanelPaths`; the manifest is written last, so a
directory without one is not a store. This module reads; `pack.py` writes.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from atft_hpo.errors import PanelStoreError
from atft_hpo.paths import PanelPaths

STORE_VERSION = 3
"""Counts changes of the layout; a store of another version is refused."""
UNKNOWN_SECTOR = "unknown"
Normalisation = Literal["rank_gauss", "robust_z", "scale_only", "none"]
_CHUNK_BYTES = 1 << 22


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureSpec(_Record):
    """One feature column."""

    name: str
    family: str
    """What stands before `__` in the name; "other" without one."""
    normalisation: Normalisation
    """What was done per day, see `normalise`; "none" for values equal for all stocks of a day."""


class FileRecord(_Record):
    """Size and checksum of one file of the store."""

    bytes: int
    sha256: str


class PanelManifest(_Record):
    """What a store holds. Independent of where it lies and of when it was written."""

    version: int
    dates: tuple[str, ...]
    """D trading days, ISO, ascending."""
    codes: tuple[str, ...]
    """N stock codes, ascending."""
    sectors: tuple[str, ...]
    """Sector names; index 0 is "unknown"."""
    features: tuple[FeatureSpec, ...]
    features_sha256: str
    """Hash of `features`: goes into checkpoints, which fit no other feature list."""
    horizons_days: tuple[int, ...]
    delay_days: int
    dtype: Literal["float16", "bfloat16"]
    rows: int
    """Live (date, code) rows."""
    files: dict[str, FileRecord]
    config: dict[str, Any]
    """The data configuration the store was built with, without the table's path."""
    report: dict[str, Any]
    """What packing found: dropped columns, missing shares, label counts, …"""
    oracle_parts: tuple[str, ...] = ()
    """Parts of the true forecast; synthetic markets only."""


class Panel:
    """An opened store. Arrays are memory-mapped copy-on-write: nothing written reaches the disk.

    Attributes:
        manifest: what the store holds.
        fingerprint: SHA-256 of the manifest file, hence of all content.
        dates: datetime64[D] [D].
        features: [D, N, F] float16, or bfloat16 bits as uint16; missing and dead cells are 0.
        present: bool [D, N]: the stock has a row that day, and so features.
        alive: bool [D, N]: it also is in the universe, and so is scored.
        tradable: bool [D, N]: it can be bought and sold at the day's close.
        targets: float32 [D, N, Q] raw returns of a position decided at d, see `labels`; NaN =
            missing. A stock outside of the universe may have them, too.
        returns: float32 [D, N] close[d] / last close before − 1, known at d; NaN = no close that
            day, or none before.
        traded_value: float32 [D, N] price × volume of the day; NaN = missing. None where the table
            had no such column.
        sector: int16 [D, N] indices into `manifest.sectors`: the day's own; on days without a row
            that of the last row before, and "unknown" before the first.
        oracle: float32 [D, N, parts] true forecast of a synthetic market, else None.
    """

    def __init__(self, root: Path, manifest: PanelManifest, fingerprint: str) -> None:
        paths = PanelPaths(root)
        cells = (len(manifest.dates), len(manifest.codes))
        bits = np.float16 if manifest.dtype == "float16" else np.uint16
        parts = len(manifest.oracle_parts)
        self.root, self.manifest, self.fingerprint = root, manifest, fingerprint
        self.dates = np.array(manifest.dates, dtype="datetime64[D]")
        self.features = _map(paths.features, bits, (*cells, len(manifest.features)))
        self.present = _map(paths.present, np.bool_, cells)
        self.alive = _map(paths.alive, np.bool_, cells)
        self.tradable = _map(paths.tradable, np.bool_, cells)
        self.sector = _map(paths.sector, np.int16, cells)
        self.targets = _map(paths.targets, np.float32, (*cells, len(manifest.horizons_days)))
        self.returns = _map(paths.returns, np.float32, cells)
        has_value = paths.traded_value.name in manifest.files
        self.traded_value = _map(paths.traded_value, np.float32, cells) if has_value else None
        self.oracle = _map(paths.oracle, np.float32, (*cells, parts)) if parts else None

    @classmethod
    def open(cls, path: Path) -> "Panel":
        """The store at `path`.

        Raises:
            PanelStoreError: no store there, another version, or a file of the wrong size.
        """
        manifest, fingerprint = _read_manifest(path)
        for name, record in manifest.files.items():
            found = (path / name).stat().st_size if (path / name).is_file() else None
            if found != record.bytes:
                raise PanelStoreError(
                    f"{path / name}: {'absent' if found is None else f'{found} bytes'}, the "
                    f"manifest says {record.bytes} bytes; delete the store and build it again"
                )
        return cls(path, manifest, fingerprint)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """F names, in the order of the last axis of `features`."""
        return tuple(spec.name for spec in self.manifest.features)

    @property
    def fan_columns(self) -> list[int]:
        """Indices of return-like features: those that FAN and SAN decompose."""
        families = set(self.manifest.config["return_like_families"])
        return [i for i, spec in enumerate(self.manifest.features) if spec.family in families]

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises:
            PanelStoreError: a file differs from the manifest.
        """
        for name, record in self.manifest.files.items():
            if file_sha256(self.root / name) != record.sha256:
                raise PanelStoreError(
                    f"{self.root / name}: content differs from the manifest's checksum; "
                    "delete the store and build it again"
                )

    def features_tensor(self, days: slice) -> torch.Tensor:
        """[days, N, F] in the store's type, sharing memory with the file."""
        bits = torch.from_numpy(self.features[days])
        return bits if self.manifest.dtype == "float16" else bits.view(torch.bfloat16)


def features_sha256(features: Iterable[FeatureSpec]) -> str:
    """Hash of names, families and normalisations in order."""
    rows = [(spec.name, spec.family, spec.normalisation) for spec in features]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _map(path: Path, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    # "c": torch wants a writable array, and a stray write must not reach the store.
    return np.memmap(path, dtype=dtype, mode="c", shape=shape)


def _read_manifest(root: Path) -> tuple[PanelManifest, str]:
    path = PanelPaths(root).manifest
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PanelStoreError(
            f"{root}: no panel store ({path.name}: {error.strerror}); build one with "
            "the command `panel build`"
        ) from error
    try:
        version = json.loads(content)["version"]
        if version != STORE_VERSION:
            raise PanelStoreError(
                f"{path}: store version {version}, expected {STORE_VERSION}; build it again"
            )
        manifest = PanelManifest.model_validate_json(content)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise PanelStoreError(
            f"{path}: not a manifest ({type(error).__name__}); delete the store and build it again"
        ) from error
    return manifest, hashlib.sha256(content).hexdigest()
