"""Train one variant on a planted market, and see after each phase what of the truth it holds."""

import dataclasses
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.training_schema import PHASE_NAMES
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.synthetic.oracle import oracle_share
from atft_hpo.errors import TrainingError
from atft_hpo.files import write_atomically
from atft_hpo.model.atft import ATFT
from atft_hpo.paths import RunPaths
from atft_hpo.training.forecasting.forecast import ForecastTable, forecast_panel, new_model
from atft_hpo.training.phases.epoch_report import Decision, EpochReport
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.state.checkpoint import load_checkpoint
from atft_hpo.training.state.identity import phase_key
from atft_hpo.training.state.reuse import SharedStates

RECORD_SECONDS = 300.0
"""A look at the truth of a phase takes seconds."""


@dataclass(frozen=True)
class PhaseTruth:
    """What a model holds at the end of a phase, on the validation days."""

    phase: str
    total: float
    """Share of the oracle's IC."""
    betas: dict[str, float]
    """β of each part."""
    rank_ic: float
    coverage_90: float
    """Share of labels between the 5 % and the 95 % quantile."""
    selection: dict[str, float]
    """Weight by feature: the mean of its selection weight and its share of the code, which are
    the features' two ways into the trunk. Sums to 1."""
    seconds: float
    """Wall time since the start of the run, shared phases included."""
    samples_per_second: float
    """Of the phase's last epoch."""


def train_variant(
    config: Config, panel: Panel, device: torch.device, shared: Path
) -> list[PhaseTruth]:
    """Train `config` through its phases; one record a phase.

    Phases that another variant has been through just so are taken over from the folder `shared`,
    with their records.
    """
    torch.set_num_threads(config.runtime.threads or torch.get_num_threads())
    source = SliceSource(panel, config, device)
    phases: list[PhaseTruth] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        paths = RunPaths(Path(folder))

        def on_epoch(report: EpochReport) -> Decision:
            nonlocal started
            if report.epoch + 1 < getattr(config.phases, report.phase_name).epochs:
                return Decision.CONTINUE
            names = [truth.phase for truth in phases] + [report.phase_name]
            record = shared / f"{phase_key(config, panel, names)}.json"
            if report.shared:
                phases.append(_recorded(record))
                started = time.monotonic() - phases[-1].seconds
                return Decision.CONTINUE
            seconds = time.monotonic() - started
            with torch.random.fork_rng():  # a look at the run changes nothing of it
                model = _model_of(paths.last, report, config, panel).to(device).eval()
                phases.append(_truth(model, source, panel, config, report, seconds))
            content = json.dumps(dataclasses.asdict(phases[-1])).encode()
            write_atomically(record, content)
            return Decision.CONTINUE

        run_phases(config, panel, paths, device, on_epoch, shared=SharedStates(shared, PHASE_NAMES))
    return phases


def _recorded(record: Path) -> PhaseTruth:
    """What the run that trained a phase wrote down of it, just after it had shared it."""
    deadline = time.monotonic() + RECORD_SECONDS
    while not record.is_file():
        if time.monotonic() > deadline:
            raise TrainingError(f"{record}: not written; remove {record.parent} and run again")
        time.sleep(0.1)
    return PhaseTruth(**json.loads(record.read_text(encoding="utf-8")))


def _model_of(last: Path, report: EpochReport, config: Config, panel: Panel) -> ATFT:
    """The model as it was evaluated: with the averaged weights, when EMA is on."""
    content = load_checkpoint(last)
    model = new_model(config, panel)
    model.enable(report.modules)
    model.load_state_dict(content["model"] | content["averages"]["ema"])
    return model


def _truth(
    model: ATFT, source: SliceSource, panel: Panel, config: Config, report: EpochReport,
    seconds: float,
) -> PhaseTruth:  # fmt: skip
    days = source.split.validation
    span = slice(days.start, days.stop)
    table = forecast_panel(model, source, days, config)
    assert panel.oracle is not None
    share = oracle_share(table.score_DNQ[..., 0], panel.oracle[span], panel.alive[span])
    return PhaseTruth(
        phase=report.phase_name,
        total=share.total,
        betas=dict(zip(panel.manifest.oracle_parts, share.betas, strict=True)),
        rank_ic=report.metrics["rank_ic"],
        coverage_90=_coverage(table, source, days),
        selection=_selection(model, source, days, panel.feature_names),
        seconds=seconds,
        samples_per_second=report.samples_per_second,
    )


def _coverage(table: ForecastTable, source: SliceSource, days: range) -> float:
    """Share of the validation labels inside the outermost quantiles, of the first horizon."""
    label_DN = np.full(table.score_DNQ.shape[:2], np.nan, dtype=np.float32)
    for index in source.evaluation_plan(days):
        batch = source.batch(index)
        first = batch.first_day - days.start
        cells = np.s_[first : first + len(index.days), batch.stocks.cpu().numpy()]
        label_DN[cells] = batch.label_NSQ[..., 0].T.cpu().numpy()
    low_DN, high_DN = table.quantiles_DNQP[:, :, 0, 0], table.quantiles_DNQP[:, :, 0, -1]
    known_DN = np.isfinite(label_DN) & np.isfinite(low_DN)
    inside_DN = (label_DN >= low_DN) & (label_DN <= high_DN)
    return float(inside_DN[known_DN].mean())


def _selection(
    model: ATFT, source: SliceSource, days: range, names: tuple[str, ...]
) -> dict[str, float]:
    weights = [model.selection_weights(source.batch(i)) for i in source.evaluation_plan(days)]
    mean_F = (torch.stack(weights).mean(0) + model.code_weights()) / 2
    return dict(zip(names, mean_F.tolist(), strict=True))
