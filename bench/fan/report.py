"""What `bench.fan` shows of a series: the line before, the table after, the JSON."""

from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from rich.table import Table

from bench.fan.series import Series
from bench.fan.training import Outcome, Settings


@dataclass(frozen=True)
class Run:
    """One trained and tested model."""

    scaling: str
    horizon: int
    method: str
    seed: int
    windows: dict[str, int]
    outcome: Outcome


@dataclass(frozen=True)
class Experiment:
    """One series and what was chosen for it."""

    series: Series
    generated: bool
    settings: Settings
    origin: dict[str, str]
    """Who chose `k` and `slice_length`."""
    device: str

    def headline(self) -> str:
        """One line that says what is about to run."""
        rows, channels = self.series.values_NC.shape
        kind = "generated series" if self.generated else "series"
        s = self.settings
        loss = "main + total + residual (code)" if s.residual_loss else "main + total (paper)"
        return (
            f"{kind} {self.series.name!r}: {rows:,} rows, {channels} channels; K = {s.k} "
            f"({self.origin['k']}); SAN slices of {s.slice_length} "
            f"({self.origin['slice_length']}); FAN's loss: {loss}; device {self.device}"
        )

    def as_json(self, runs: list[Run]) -> dict[str, Any]:
        """Settings, means over seeds by scaling, horizon and method, and every single run."""
        rows, channels = self.series.values_NC.shape
        mean: dict[str, Any] = {}
        for run in runs:
            place = mean.setdefault(run.scaling, {}).setdefault(str(run.horizon), {})
            place[run.method] = {
                error: fmean(_errors(runs, run.scaling, run.horizon, run.method, error))
                for error in ("mse", "mae")
            }
        return {
            "name": self.series.name,
            "generated": self.generated,
            "rows": rows,
            "channels": channels,
            "settings": {**asdict(self.settings), "origin": self.origin, "device": self.device},
            "mean": mean,
            "runs": [_flat(run) for run in runs],
        }


def table(series: Series, runs: list[Run]) -> Table:
    """Errors by horizon and method, mean over seeds ± standard deviation, per scaling."""
    title = f"{series.name}: test errors, scaled on the training part (train) or on all data (all)"
    shown = Table(title=title, title_justify="left")
    shown.add_column("horizon", justify="right")
    shown.add_column("method")
    scalings = list(dict.fromkeys(run.scaling for run in runs))
    for scaling in scalings:
        shown.add_column(f"MSE ({scaling})", justify="right")
        shown.add_column(f"MAE ({scaling})", justify="right")
    horizon = None
    for ahead, method in dict.fromkeys((run.horizon, run.method) for run in runs):
        if horizon not in (None, ahead):
            shown.add_section()
        cells = [
            _cell(_errors(runs, scaling, ahead, method, error))
            for scaling in scalings
            for error in ("mse", "mae")
        ]
        shown.add_row("" if horizon == ahead else str(ahead), method, *cells)
        horizon = ahead
    return shown


def line(run: Run) -> str:
    """Progress: one finished run."""
    o = run.outcome
    return (
        f"scaling {run.scaling}, horizon {run.horizon}, {run.method}, seed {run.seed}: "
        f"MSE {o.mse:.4f} MAE {o.mae:.4f}; epoch {o.best_epoch} of {o.epochs}; {o.seconds:.0f} s"
    )


def _errors(runs: list[Run], scaling: str, ahead: int, method: str, error: str) -> list[float]:
    key = (scaling, ahead, method)
    chosen = [r for r in runs if (r.scaling, r.horizon, r.method) == key]
    return [getattr(run.outcome, error) for run in chosen]


def _cell(values: list[float]) -> str:
    spread = f"±{stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.4f}{spread}"


def _flat(run: Run) -> dict[str, Any]:
    entry = asdict(run)
    outcome = entry.pop("outcome")
    return {**entry, **outcome}
