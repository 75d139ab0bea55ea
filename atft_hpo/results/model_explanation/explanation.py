"""What was found of a checkpoint, as tables, and the files that hold them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from atft_hpo.results.model_explanation.frames import strength_summary


@dataclass(frozen=True)
class Explanation:
    """What a checkpoint looks at on some days."""

    origin: dict[str, str]
    """Checkpoint, its SHA-256, the study, the panel's fingerprint, first and last day."""
    days: int
    tokens: int
    """Live (stock, day) cells."""
    modules: tuple[str, ...]
    """Optional modules that the checkpoint has switched on."""
    selection: pl.DataFrame
    """One row per feature."""
    selection_months: pl.DataFrame
    selection_sectors: pl.DataFrame
    attention: pl.DataFrame
    """One row per path, lag, and head or channel; empty for a model without attention."""
    graph: pl.DataFrame
    """One row per layer, head and edge type; empty when the graph is off."""
    graph_size: float | None
    """Root mean square of the graph's messages, relative to that of the state they join."""
    strengths: pl.DataFrame
    """One row per element of a learned strength."""
    effects: pl.DataFrame
    """One row per part switched off, and per feature or family shuffled."""

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """The tables by file name, without its ending."""
        return {
            name: value for name, value in vars(self).items() if isinstance(value, pl.DataFrame)
        }

    def summary(self) -> dict[str, Any]:
        """What JSON takes: not weights by month and sector, single strengths, κ by channel."""
        kept = ("selection", "graph", "effects")
        return {
            **self.origin,
            "days": self.days,
            "tokens": self.tokens,
            "modules": list(self.modules),
            "graph_size": self.graph_size,
            "strengths": strength_summary(self.strengths).to_dicts(),
            "attention": self.attention.filter(pl.col("channel").is_null()).to_dicts(),
            **{name: self.frames[name].to_dicts() for name in kept},
        }


@dataclass(frozen=True)
class ExplanationFiles:
    """Names in an explanation's directory."""

    root: Path

    def table(self, name: str) -> Path:
        return self.root / f"{name}.parquet"

    def figure(self, name: str) -> Path:
        return self.root / f"{name}.png"
