"""A seeded study of 20 trials over five phases, as records: complete, pruned, failed, running."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config, with_values
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.data.sampling.splits import dated
from atft_hpo.data.store.pack import pack_table
from atft_hpo.data.store.panel import Panel
from atft_hpo.evaluation.series import DailySeries
from atft_hpo.paths import RunPaths
from atft_hpo.results.run_summary.hardware import HardwareUsage
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import AttemptRecord, EpochRecord, StudyRecord, TrialRecord
from atft_hpo.training.phases.epoch_report import Decision, Ending, EpochReport, TrainingResult
from atft_hpo.training.phases.objective import best_epoch
from atft_hpo.training.run.loop import run_phases

START = datetime(2025, 3, 3, 9, 0, tzinfo=UTC)
DAYS = 120
SPACE: dict[str, Any] = {
    "optim.lr_scale": {"type": "float", "low": 0.1, "high": 10.0, "log": True},
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "model.fan.k": {"type": "int", "low": 0, "high": 4},
    "model.gat.heads": {"type": "categorical", "choices": [[4, 2], [2, 2], [1]]},
    "phases.gat.weights.sharpe": {"type": "float", "low": 0.0, "high": 0.5},
}
MODULES = {0: (), 1: ("fan", "san"), 2: ("fan", "san", "graph")}
ENDINGS = {
    3: Outcome.NON_FINITE,
    6: Outcome.CRASHED,
    11: Outcome.OUT_OF_MEMORY,
    17: Outcome.CANCELLED,
}


def study_config(**values: Any) -> Config:
    """Five short phases, five searched parameters, 20 trials."""
    epochs = {"baseline": 3, "adaptive_norm": 4, "gat": 4, "fine_tuning": 3, "augmentation": 4}
    keys = {f"phases.{name}.epochs": n for name, n in epochs.items()}
    base = {"study.name": "quick", "study.question": "Does a graph pay for its cost?"}
    return with_values(Config(), base | keys | {"search.space": SPACE} | values)


def daily_series(rng: np.random.Generator, skill: float) -> DailySeries:
    """Daily ICs around `skill` and returns that follow them, with one skipped day.

    Most of the noise is the market's, the same for all trials and epochs, as in real studies.
    """
    market = np.random.default_rng(99)
    noise = market.normal(0, 0.08, DAYS) - 0.01 + rng.normal(0, 0.02, DAYS)
    ic = (skill + noise).astype(np.float32)
    gross = (0.01 * ic + market.normal(0, 0.002, DAYS)).astype(np.float32)
    turnover = rng.uniform(0.1, 0.3, DAYS).astype(np.float32)
    net = (gross - np.float32(1e-3) * turnover).astype(np.float32)
    ic[17] = gross[17] = net[17] = np.nan
    dates = np.arange("2024-01-01", DAYS, dtype="datetime64[D]")
    rank, pure = (0.9 * ic).astype(np.float32), (0.5 * ic).astype(np.float32)
    return DailySeries(dates, ic, rank, gross, net, turnover, pure, dates)


def metrics_of(daily: DailySeries) -> dict[str, float]:
    """Metrics that agree with the series."""
    ic, net = daily.ic[~np.isnan(daily.ic)], daily.return_net[~np.isnan(daily.return_net)]
    sharpe = float(net.mean() / net.std(ddof=1))
    ic_t = float(ic.mean() / ic.std() * np.sqrt(ic.size))
    return {
        "ic": float(ic.mean()), "ic_std": float(ic.std()), "ic_t": ic_t,
        "icir": float(ic.mean() / ic.std()), "ic_zero_share": 0.0,
        "rank_ic": float(0.9 * ic.mean()), "rank_ic_std": float(0.9 * ic.std()),
        "pure_rank_ic": float(0.5 * ic.mean()), "pure_rank_ic_std": float(0.5 * ic.std()),
        "pure_rank_ic_t": ic_t, "score_autocorrelation": 0.8, "style_r2": 0.3,
        "rank_ic_t": ic_t, "rank_icir": float(ic.mean() / ic.std()),
        "sharpe": sharpe * 252**0.5, "sharpe_gross": sharpe * 252**0.5 + 1.0,
        "sharpe_daily": sharpe, "hit_rate": float(np.mean(net > 0)), "turnover": 0.2,
        "max_drawdown": 0.05, "return_annual": float(net.mean() * 252),
        "days": float(DAYS), "days_skipped": 1.0, "ic_5d": 0.8 * float(ic.mean()),
    }  # fmt: skip


def epoch_reports(seed: int, config: Config, level: float, count: int) -> list[EpochReport]:
    """The first `count` epochs of a run whose skill rises towards `level`."""
    rng = np.random.default_rng(seed)
    total = sum(phase.epochs for _, phase in config.phases.in_order)
    rows: list[EpochReport] = []
    smooth: list[float] = []
    for name, phase in config.phases.in_order:
        number = PHASE_NAMES.index(name)
        smooth.clear()
        for epoch in range(phase.epochs):
            skill = level * (1.0 - 0.8 * 0.85 ** len(rows))
            daily = daily_series(rng, skill)
            metrics = metrics_of(daily)
            smooth.append(metrics["sharpe"])
            train = {
                "loss": 1.9 - skill, "loss_point": 0.99, "loss_pinball": 0.4,
                "grad_norm_point": 0.5 + 0.1 * number, "grad_norm_pinball": 0.2,
                "lr": phase.lr, "edges": 0.0 if number < 2 else 512.0,
                "optimizer_steps": 12.0, "samples": 40_000.0,
            }  # fmt: skip
            rows.append(
                EpochReport(
                    phase=number,
                    phase_name=name,
                    epoch=epoch,
                    epochs_done=len(rows) + 1,
                    epochs_total=total,
                    metrics=metrics,
                    value=metrics["sharpe"],
                    smoothed=float(np.mean(smooth[-3:])),
                    train=train,
                    modules=MODULES[min(number, 2)],
                    seconds=8.0 + number,
                    validation_seconds=1.0,
                    samples_per_second=20_000.0 - 2_000.0 * number,
                    eta_seconds=9.0 * (total - len(rows) - 1),
                    daily=daily,
                )
            )
    return rows[:count]


def kept(reports: list[EpochReport], config: Config) -> EpochReport:
    """The epoch that a complete run of `reports` keeps."""
    rows = [r for r in reports if r.phase == 4]
    found = best_epoch([r.value for r in rows], len(rows), config.objective)
    assert found is not None
    return rows[found]


def as_record(report: EpochReport) -> EpochRecord:
    """The database's view of a report."""
    shared = {f.name for f in dataclasses.fields(EpochRecord)} - {"step", "attempt"}
    values = {name: getattr(report, name) for name in shared}
    return EpochRecord(step=report.step, attempt=1, **values)


def draw_params(rng: np.random.Generator) -> dict[str, Any]:
    """One draw of the space."""
    return {
        "optim.lr_scale": float(10 ** rng.uniform(-1, 1)),
        "model.dropout": float(rng.uniform(0.0, 0.5)),
        "model.fan.k": int(rng.integers(0, 5)),
        "model.gat.heads": SPACE["model.gat.heads"]["choices"][int(rng.integers(0, 3))],
        "phases.gat.weights.sharpe": float(rng.uniform(0.0, 0.5)),
    }


def make_trial(number: int, config: Config, outcome: Outcome | None) -> TrialRecord:
    """Trial `number`; `outcome` None = running. Low dropout makes it better."""
    rng = np.random.default_rng([7, number])
    params = draw_params(rng)
    level = 0.02 + 0.08 * (0.5 - params["model.dropout"]) + float(rng.normal(0, 0.008))
    total = sum(phase.epochs for _, phase in config.phases.in_order)
    complete = outcome is Outcome.COMPLETE
    count = total if complete else int(rng.integers(4, total - 2))
    reports = epoch_reports(number, config, level, count)
    seconds = sum(r.seconds for r in reports)
    started = START + timedelta(minutes=3 * number)
    ended = None if outcome is None else started + timedelta(seconds=seconds)
    message = "" if outcome is None else f"{outcome.value} (trial {number})"
    attempt = AttemptRecord(
        1, "node-a", 100 + number, started, ended, outcome.name if outcome else "", message
    )
    value = kept(reports, config).smoothed if complete else None
    return TrialRecord(
        number=number, state="finished" if outcome else "running", outcome=outcome,
        message=message, params=params, value=value, started_at=started, ended_at=ended,
        device_seconds=seconds, attempts=(attempt,), epochs=tuple(map(as_record, reports)),
        directory=f"studies/quick/trials/{number}",
    )  # fmt: skip


def make_study(outcomes: list[Outcome | None], **values: Any) -> StudyRecord:
    """A study with one trial per outcome."""
    config = study_config(**values)
    trials = tuple(make_trial(n, config, outcome) for n, outcome in enumerate(outcomes))
    return StudyRecord("quick", config, "panels/synthetic-1234", 20, START, "", trials)


def twenty_outcomes() -> list[Outcome | None]:
    """11 complete, 4 pruned, 4 failed in their own ways, one running."""
    pruned = {2, 8, 13, 15}
    row = [Outcome.PRUNED if n in pruned else ENDINGS.get(n, Outcome.COMPLETE) for n in range(19)]
    return [*row, None]


@pytest.fixture(scope="session")
def study() -> StudyRecord:
    """20 trials, five phases."""
    return make_study(twenty_outcomes())


@pytest.fixture(scope="session")
def config() -> Config:
    return study_config()


TINY: dict[str, Any] = {
    "study": {"name": "tiny"},
    "data": {"source": "features", "horizons_days": [1, 5]},
    "split": {"embargo_days": 0},
    "graph": {"window_days": 20, "neighbours": 3},
    "slices": {"days": 30, "context_days": 8},
    "model": {
        "hidden": 8, "lookback_days": 8, "attention_heads": 2, "gat": {"heads": [2]},
        "san": {"slice_days": 2, "spans": [1, 4]},
        "quantiles": [0.025, 0.5, 0.975],
    },
    "phases": {
        "baseline": {"epochs": 1, "lr": 3e-3},
        "adaptive_norm": {"epochs": 0, "horizon_weights": [1.0]},
        "gat": {"epochs": 1, "lr": 1e-3, "horizon_weights": [1.0]},
        "fine_tuning": {"epochs": 0, "horizon_weights": [1.0]},
        "augmentation": {"epochs": 0, "horizon_weights": [1.0]},
    },
    "runtime": {"precision": "float32"},
    "objective": {"metric": "rank_ic"},
}  # fmt: skip


@dataclass(frozen=True)
class TrainedRun:
    """A real run of two epochs on a small market."""

    panel: Panel
    config: Config
    """With its split as dates."""
    result: TrainingResult
    paths: RunPaths


def small_market(path: Path) -> Path:
    """30 stocks, 170 days, a signal that predicts the return after the delay; one delisting."""
    rng = np.random.default_rng(0)
    days, stocks = 170, 30
    signal = rng.standard_normal((days, stocks))
    returns = 0.01 * rng.standard_normal((days, stocks))
    returns[2:] += 0.008 * signal[:-2]
    day = np.repeat(np.arange(days), stocks)
    table = pl.DataFrame(
        {
            "date": np.datetime64("2020-01-01") + day,
            "code": np.tile([f"S{n:02d}" for n in range(stocks)], days),
            "sector": np.tile([f"sector {n % 3}" for n in range(stocks)], days),
            "close": 100 * np.cumprod(1 + returns, axis=0).ravel(),
            "signal__a": signal.ravel(),
            "returns__1d": returns.ravel(),
        }
    )
    gone = (pl.col("code") == "S07") & (pl.col("date") >= np.datetime64("2020-04-30"))
    table.filter(~gone).write_parquet(path)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Two epochs of real training; do not alter its files."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("trained")
    config = build_config(TINY)
    panel = pack_table(small_market(root / "market.parquet"), root / "panel", config.data)
    config = dated(config, panel)
    run = RunPaths(root / "run")
    cpu = torch.device("cpu")
    result = run_phases(config, panel, run, cpu, on_epoch=lambda _: Decision.CONTINUE)
    return TrainedRun(panel, config, result, run)


@pytest.fixture(name="study_config")
def study_config_factory() -> Callable[..., Config]:
    """study_config(**{dotted key: value}) → the study's configuration with other values."""
    return study_config


@pytest.fixture
def study_of() -> Callable[..., StudyRecord]:
    """study_of([Outcome or None for running, …], **values) → a study with those trials."""
    return make_study


@pytest.fixture
def remade() -> Callable[..., Any]:
    """remade(record, **changes) → a changed copy."""
    return dataclasses.replace


@pytest.fixture
def result(config: Config) -> TrainingResult:
    """A complete run of 18 epochs."""
    history = tuple(epoch_reports(5, config, 0.06, 99))
    best = kept(list(history), config)
    return TrainingResult(
        Ending.COMPLETE, best.smoothed, best.step, best.metrics, len(history), len(history),
        sum(r.seconds for r in history), history,
    )  # fmt: skip


@pytest.fixture
def usage() -> HardwareUsage:
    """A run on the CPU."""
    return HardwareUsage(None, None, None, None, None, None, 187.5, 1.25, 180.0, "Test CPU", 2)


@pytest.fixture
def run_paths(tmp_path: Path) -> RunPaths:
    """An attempt's directory with two of the three checkpoints."""
    run = RunPaths(tmp_path / "attempt-1")
    run.root.mkdir()
    run.best.write_bytes(b"x" * 3_000_000)
    run.final.write_bytes(b"x" * 2_500)
    return run
