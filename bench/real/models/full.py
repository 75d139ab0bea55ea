"""The product's model, trained as the study says.

Nothing is chosen on the days that are forecast: the weights are those after the last epoch,
averaged where the study averages (swa_main.pt), never those of the best validation epoch.
"""

from typing import Final

from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.paths import RunPaths
from atft_hpo.training.forecasting.forecast import forecast_panel
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.state.open_model import load_model
from bench.real.samples import Scores, Task

SECTIONS: Final = (
    "data", "graph", "slices", "model", "optim", "loss", "augment", "phases", "runtime",
)  # fmt: skip
"""Sections of the configuration that shape the forecast."""


def full(task: Task) -> Scores:
    """Forecasts [D, N, Q] of the fold's days; continues an interrupted training."""
    paths = RunPaths(task.scratch)
    paths.root.mkdir(parents=True, exist_ok=True)
    optim = task.config.optim
    checkpoint = paths.swa if optim.swa_epochs or optim.ema_decay else paths.final
    if not checkpoint.exists():
        run_phases(
            task.config,
            task.panel,
            paths,
            task.device,
            on_epoch=lambda report: Decision.CONTINUE,
            resume_from=paths.last if paths.last.exists() else None,
        )
    model, config = load_model(checkpoint, task.panel)
    source = SliceSource(task.panel, config, task.device)
    table = forecast_panel(model.to(task.device), source, task.fold.days, config)
    return table.score_DNQ
