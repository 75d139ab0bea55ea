"""How far packing has come, in a file replaced whole: the next builder goes on there.

What the journal speaks of has been handed to the operating system, not forced to the disk: it
outlives the builder, but not the machine. So an entry made before the last boot is worth nothing,
and nobody waits for the disk in the middle of the work.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.data.ingest.table import Table
from atft_hpo.data.store.column_statistics import ColumnStatistics
from atft_hpo.data.store.panel import STORE_VERSION
from atft_hpo.files import write_atomically


@dataclass
class Journal:
    """Entries about one table, packed in one way."""

    path: Path
    work: str
    """What is packed, how, and since which boot: a journal of other work is worth nothing."""
    statistics: ColumnStatistics
    columns: int = 0
    """Feature columns of the table that are normalised."""
    blocks: int = 0
    """Blocks of days that are appended to features.bin."""
    bytes: int = 0
    """Their size."""

    @classmethod
    def open(cls, path: Path, table: Table, config: DataConfig) -> "Journal":
        """The journal at `path`, or a new one if it is of other work, damaged or absent."""
        new = cls.new(path, table, config)
        try:
            with path.open("rb") as file, np.load(file) as content:
                facts = json.loads(content["facts"].tobytes())
                arrays = {name: content[name] for name in content.files if name != "facts"}
                if facts.pop("work") != new.work:
                    return new
                return cls(path, new.work, ColumnStatistics(**arrays), **facts)
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
            return new

    @classmethod
    def new(cls, path: Path, table: Table, config: DataConfig) -> "Journal":
        """Nothing is done."""
        empty = ColumnStatistics.empty(len(table.features))
        return cls(path, _identity(table, config), empty)

    def save(self) -> None:
        """Write it."""
        facts = {
            "work": self.work, "columns": self.columns, "blocks": self.blocks, "bytes": self.bytes,
        }  # fmt: skip
        buffer = io.BytesIO()
        content = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        np.savez(buffer, facts=content, **vars(self.statistics))
        write_atomically(self.path, buffer.getbuffer())


def _identity(table: Table, config: DataConfig) -> str:
    """Hash of the files (by name, size and time of change), the configuration and the boot."""
    files = [(path.name, (at := path.stat()).st_size, at.st_mtime_ns) for path in table.files]
    rest = [STORE_VERSION, config.model_dump_json(exclude={"path"}), int(psutil.boot_time())]
    return hashlib.sha256(json.dumps([files, *rest]).encode()).hexdigest()
