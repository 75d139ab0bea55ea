"""The names of everything in the shared volume. No other module spells a file name of it.

<volume>/
  postgres/                        embedded database (when no ATFT_HPO_STORAGE is given)
  panels/<name>-<hash>/            panel stores
  studies/<study>/
    study.toml                     the study as it was started
    report.html
    trials/<number>/
      config.toml                  the trial's complete configuration
      attempt-<k>/                 one process; k counts from 1
        best_main.pt  final.pt  swa_main.pt  last.pt
        metrics.parquet  daily.parquet  summary.md  log.txt
  runs/<name>/                     `atft-hpo train`: the files of an attempt
  explanations/<study>-<hash>/     `atft-hpo explain`: tables and figures of one checkpoint
  states/                          what trials have in common, trained once; may be removed
  probes/                          how many trials a machine carries, as measured; may be removed
"""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """Files of one training run: an attempt of a trial, or a run of `atft-hpo train`."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def best(self) -> Path:
        """Best weights by the smoothed objective within the last phase reached in full."""
        return self.root / "best_main.pt"

    @property
    def final(self) -> Path:
        """Weights at the end of the last epoch."""
        return self.root / "final.pt"

    @property
    def swa(self) -> Path:
        """Averaged weights (SWA, or EMA when only that is on)."""
        return self.root / "swa_main.pt"

    @property
    def last(self) -> Path:
        """Everything needed to continue after the last finished epoch."""
        return self.root / "last.pt"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.parquet"

    @property
    def daily(self) -> Path:
        return self.root / "daily.parquet"

    @property
    def summary(self) -> Path:
        return self.root / "summary.md"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"


@dataclass(frozen=True)
class TrialPaths:
    """The directory of one trial, which holds one directory per attempt."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    def attempt(self, attempt: int) -> RunPaths:
        """Files of attempt `attempt` (counted from 1)."""
        return RunPaths(self.root / f"attempt-{attempt}")


@dataclass(frozen=True)
class StudyPaths:
    """The directory of one study."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "study.toml"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def trial(self, number: int) -> TrialPaths:
        """The directory of trial `number` (Optuna's number, from 0)."""
        return TrialPaths(self.root / "trials" / str(number))


@dataclass(frozen=True)
class AttemptOrigin:
    """Which attempt of which trial a file of the volume is of."""

    study: str
    trial: int
    attempt: int

    @classmethod
    def of(cls, file: Path) -> "AttemptOrigin | None":
        """By where `file` is; None when that is not an attempt's directory."""
        found = re.search(r"/studies/([^/]+)/trials/(\d+)/attempt-(\d+)$", str(file.parent))
        return cls(found[1], int(found[2]), int(found[3])) if found else None


def run_name(file: Path) -> str | None:
    """Name of the run that a file of the volume is of; None when it is no run's."""
    found = re.search(r"/runs/([^/]+)$", str(file.parent))
    return found[1] if found else None


@dataclass(frozen=True)
class Volume:
    """The shared volume: what trials, agents and reports read and write."""

    root: Path

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def panels(self) -> Path:
        return self.root / "panels"

    def panel(self, name: str, digest: str) -> Path:
        """A panel store; `digest` is the hash of what it was built from."""
        return self.panels / f"{name}-{digest[:12]}"

    @property
    def states(self) -> Path:
        """Ends of phases, and trees, by a hash of all that shaped them."""
        return self.root / "states"

    def probe(self, digest: str) -> Path:
        """What was measured of a study on a machine, by a hash of both."""
        return self.root / "probes" / f"{digest[:32]}.json"

    def study(self, name: str) -> StudyPaths:
        return StudyPaths(self.root / "studies" / name)

    def run(self, name: str) -> RunPaths:
        return RunPaths(self.root / "runs" / name)

    def explanation(self, study: str, checkpoint_sha256: str) -> Path:
        """Where `explain` puts what it finds about one checkpoint."""
        return self.root / "explanations" / f"{study}-{checkpoint_sha256[:12]}"


@dataclass(frozen=True)
class PanelPaths:
    """Files of one panel store. `manifest.json` is written last: without it there is no store."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def features(self) -> Path:
        return self.root / "features.bin"

    @property
    def alive(self) -> Path:
        return self.root / "alive.bin"

    @property
    def present(self) -> Path:
        return self.root / "present.bin"

    @property
    def tradable(self) -> Path:
        return self.root / "tradable.bin"

    @property
    def sector(self) -> Path:
        return self.root / "sector.bin"

    @property
    def targets(self) -> Path:
        return self.root / "targets.bin"

    @property
    def returns(self) -> Path:
        return self.root / "returns.bin"

    @property
    def traded_value(self) -> Path:
        """Price times volume of each day; only where the table has it."""
        return self.root / "traded_value.bin"

    @property
    def oracle(self) -> Path:
        """The true forecast, parts in the last axis; synthetic panels only."""
        return self.root / "oracle.bin"

    def graph(self, digest: str) -> Path:
        """Cached neighbour lists for one graph configuration."""
        return self.root / f"graph-{digest[:12]}.npz"
