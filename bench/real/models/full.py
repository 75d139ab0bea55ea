"""The product's model, trained as the study says; and the very trees below it, without the net.

Nothing is chosen on the days that are forecast: the weights are those after the last epoch,
averaged where the study averages (swa_main.pt), never those of the best validation epoch. A forest
is fitted once: whichever of the two comes second takes it over.
"""

from pathlib import Path
from typing import Final

import numpy as np

from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.model.forest import Forest, Stack
from atft_hpo.model.heads import mixed_horizons
from atft_hpo.paths import RunPaths
from atft_hpo.training.forecasting.forecast import forecast_panel
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.run.loop import run_phases
from atft_hpo.training.state.checkpoint import load_checkpoint
from atft_hpo.training.state.identity import TREES, trees_key
from atft_hpo.training.state.open_model import load_model
from atft_hpo.training.state.reuse import SharedStates
from atft_hpo.training.state.run_state import RunState
from bench.measuring.program import TRAINING, program_sha256
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
            shared=_forests(task),
            resume_from=paths.last if paths.last.exists() else None,
        )
    model, config = load_model(checkpoint, task.panel)
    source = SliceSource(task.panel, config, task.device)
    table = forecast_panel(model.to(task.device), source, task.fold.days, config)
    return table.score_DNQ


def own_trees(task: Task) -> Scores:
    """Forecasts [D, N, Q] of the fold's days by the trees below the net of this fold and seed.

    The mean of each horizon's boosters, the horizons mixed as the correction begins. Neighbours are
    not heard: `model.trees.smoothing` is the full model's, as its graph is.
    """
    days = task.fold.days
    score_DNQ = _forest(task).forecast(task.panel, days) @ mixed_horizons(task.horizons).T
    alive_DN = np.asarray(task.panel.alive[days.start : days.stop])
    return np.where(alive_DN[..., None], score_DNQ, np.nan).astype(np.float32)


def _forest(task: Task) -> Forest:
    """Taken over from the full model's training, or fitted here as there."""
    forests, key = _forests(task), trees_key(task.config, task.panel)
    try:
        kept = forests.take(key, lambda: Decision.CONTINUE)
        if isinstance(kept, Path):
            return Stack.from_content(load_checkpoint(kept)["stack"]).forest
        run = RunState.begin(task.config, task.panel, task.device)
        stack = run.fitted_stack(lambda: None)
        forests.keep(key, {"stack": stack.content()})
        return stack.forest
    finally:
        forests.release()


def _forests(task: Task) -> SharedStates:
    """Kept under the program's text, too: the product's key trusts its version number."""
    return SharedStates(task.shared / "forests" / program_sha256(TRAINING)[:16], {TREES})
