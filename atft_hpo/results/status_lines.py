"""How an epoch, a trial's end and a duration read on one line, in logs and on terminals alike."""

import math
from typing import Protocol

from sqlalchemy import RowMapping


class Epoch(Protocol):
    """What `EpochReport` and `EpochRecord` have in common."""

    @property
    def phase_name(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def epochs_done(self) -> int: ...
    @property
    def epochs_total(self) -> int: ...
    @property
    def metrics(self) -> dict[str, float]: ...
    @property
    def samples_per_second(self) -> float: ...
    @property
    def eta_seconds(self) -> float: ...
    @property
    def shared(self) -> bool: ...


def epoch_line(title: str, epoch: Epoch) -> str:
    """One finished epoch: phase, epoch, metrics, speed, expected time to the end."""
    speed = f"{count(epoch.samples_per_second)} samples/s"
    return " · ".join(
        [
            title,
            f"{epoch.phase_name} {epoch.epoch + 1}",
            f"epoch {epoch.epochs_done}/{epoch.epochs_total}",
            f"IC {signed(epoch.metrics.get('ic'))}",
            f"RankIC {signed(epoch.metrics.get('rank_ic'))}",
            f"pure {signed(epoch.metrics.get('pure_rank_ic'))}",
            f"Sharpe {signed(epoch.metrics.get('sharpe'), 2)}",
            "taken over" if epoch.shared else speed,
            f"ETA {duration(epoch.eta_seconds)}",
        ]
    )


def ended_line(trial: RowMapping) -> str:
    """One finished trial (row of `atft_trial`)."""
    title = f"slot {trial['slot']}" if trial["number"] is None else f"trial {trial['number']}"
    value = f" {trial['value']:.4g}" if trial["value"] is not None else ""
    message = f": {trial['message']}" if trial["message"] else ""
    return f"{title} {trial['outcome']}{value} after {duration(trial['device_seconds'])}{message}"


def signed(value: float | None, digits: int = 3) -> str:
    """A metric with its sign; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"


def count(value: float) -> str:
    """A count in thousands where it is large."""
    if not math.isfinite(value):
        return "–"
    return f"{value / 1000:.1f}k" if value >= 10_000 else f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """h:mm:ss, or m:ss below an hour."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
