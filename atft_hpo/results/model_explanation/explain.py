"""What a checkpoint looks at: tables in Parquet and pictures in PNG.

    explanation = explain(Path("best_main.pt"), panel, "validation", shuffles=20)
    explanation.selection.head(10)
    files = write_explanation(explanation, Path("explanation"))

Everything is over the live (stock, day) tokens of the chosen days, in the code path of validation,
one slice at a time. `docs/explain.md` says how to read it, and how not to.
"""

import io
from functools import reduce
from operator import add
from pathlib import Path

import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import ConfigError
from atft_hpo.files import write_atomically
from atft_hpo.model.atft import ATFT
from atft_hpo.model.inspection.watch_model import Inspection, inspect_batch
from atft_hpo.results.backtest import same_targets
from atft_hpo.results.model_explanation.effects import (
    effects_frame,
    module_effects,
    shuffle_effects,
)
from atft_hpo.results.model_explanation.explanation import Explanation, ExplanationFiles
from atft_hpo.results.model_explanation.frames import (
    attention_frame,
    graph_frame,
    month_frame,
    sector_frame,
    selection_frame,
    strength_frame,
)
from atft_hpo.results.predictions import Days, day_range
from atft_hpo.training.forecasting.forecast import evaluating, precision
from atft_hpo.training.state.checkpoint import checkpoint_sha256
from atft_hpo.training.state.open_model import load_model, split_dates


def explain(
    checkpoint: Path,
    panel: Panel,
    days: Days,
    *,
    shuffles: int = 0,
    allow_test: bool = False,
    device: torch.device | None = None,
) -> Explanation:
    """What the checkpoint looks at on `days`.

    `shuffles`: so many features of largest weight, in variable selection or in the trees below the
    net, and every family are shuffled one by one, for net and trees alike; each costs a forecast of
    all days, as does each part switched off.

    Raises:
        CheckpointError: the checkpoint is absent, altered, or of other features than the panel.
        ConfigError: the panel has no such days, no stock is alive on them, or they reach into the
            test range unallowed.
        DataError: the panel's targets have other horizons or another delay than the checkpoint's.
    """
    device = device or torch.device("cpu")
    model, config = load_model(checkpoint, panel)
    same_targets(config, panel)
    chosen = day_range(panel, split_dates(config), days, allow_test=allow_test)
    source = SliceSource(panel, config, device)
    model = model.to(device)
    seen = _inspect(model, source, chosen, config)
    selection = selection_frame(seen.selection, model, panel)
    effects = [*module_effects(model), *shuffle_effects(selection, panel, shuffles)]
    return Explanation(
        origin=_origin(checkpoint, panel, chosen, config),
        days=len(chosen),
        tokens=int(seen.selection.tokens_S.sum()),
        modules=tuple(sorted(model.active)),
        selection=selection,
        selection_months=month_frame(seen.selection, panel, chosen),
        selection_sectors=sector_frame(seen.selection, panel),
        attention=attention_frame(seen.attention),
        graph=graph_frame(seen.graph),
        graph_size=seen.graph.size if seen.graph else None,
        strengths=strength_frame(model, panel),
        effects=effects_frame(model, source, panel, chosen, config, effects),
    )


def write_explanation(explanation: Explanation, out: Path) -> list[Path]:
    """Write one Parquet file per table and the figures into `out`; returns them, overview first.

    The files' metadata hold the SHA-256 of the checkpoint, the panel's fingerprint and the days.

    Raises:
        VolumeError: `out` cannot be written.
    """
    from atft_hpo.results.model_explanation.pictures import draw_figures

    files, written = ExplanationFiles(out), []
    for name, png in draw_figures(explanation).items():
        write_atomically(files.figure(name), png)
        written.append(files.figure(name))
    for name, frame in explanation.frames.items():
        buffer = io.BytesIO()
        frame.write_parquet(buffer, metadata=explanation.origin)
        write_atomically(files.table(name), buffer.getbuffer())
        written.append(files.table(name))
    return written


def _inspect(model: ATFT, source: SliceSource, days: range, config: Config) -> Inspection:
    """All slices together."""
    with evaluating(model), torch.no_grad(), precision(config, source.device):
        plan = source.evaluation_plan(days)
        seen = reduce(add, (inspect_batch(model, source.batch(index)) for index in plan))
    if not seen.selection.tokens_S.any():
        first, last = source.panel.dates[days.start], source.panel.dates[days[-1]]
        raise ConfigError(
            f"no stock is alive from {first} to {last}, so there is nothing to look at; choose "
            "other days"
        )
    return seen


def _origin(checkpoint: Path, panel: Panel, days: range, config: Config) -> dict[str, str]:
    return {
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": checkpoint_sha256(checkpoint),
        "study": config.study.name,
        "panel": panel.fingerprint,
        "first_day": str(panel.dates[days.start]),
        "last_day": str(panel.dates[days[-1]]),
    }
