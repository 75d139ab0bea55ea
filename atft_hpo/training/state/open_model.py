"""From a file with trained weights to a model that forecasts, on the panel it is given.

    model, config = load_model(Path("best_main.pt"), panel)
    config.split.dates                  # which days it was trained on, and chosen by

Features must be those of the training. Sectors are found by name, whatever their positions in this
panel: what is learned of one never goes to another.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atft_hpo import __version__
from atft_hpo.config.data_schema import SplitDates
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import parse_config
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.store.panel_record import PanelRecord, listed
from atft_hpo.errors import CheckpointError
from atft_hpo.model.atft import ATFT, SECTOR_WEIGHTS
from atft_hpo.model.forest import Forest
from atft_hpo.training.forecasting.forecast import new_model
from atft_hpo.training.state.checkpoint import load_checkpoint


def load_model(checkpoint: Path, panel: Panel) -> tuple[ATFT, Config]:
    """The model of best_main.pt, final.pt or swa_main.pt, in `eval()` mode on the CPU.

    It has the sectors of `panel`. One that the checkpoint does not know is what "unknown" was to
    it, or the mean of its sectors where it had no such stock. That, and how many stocks are new
    to it, is said on stderr.

    Raises:
        CheckpointError: the file is absent or altered, holds no model (last.pt), keeps no dates,
            was trained on another feature list, or with another version of the model.
    """
    content = _model_content(checkpoint)
    record = PanelRecord.model_validate(content["panel_record"])
    if other := record.other_features(panel.manifest.features):
        raise CheckpointError(
            f"{checkpoint}: trained on another feature list; the panel's is {other}; build the "
            "panel with the checkpoint's data configuration"
        )
    config = _config(content, checkpoint)
    model = new_model(config, panel)
    model.enable(content["modules"])
    if forest := content.get("forest"):
        model.forest = Forest.from_content(forest)
    try:
        model.load_state_dict(_by_sector_name(content["model"], record, panel))
    except RuntimeError as error:
        written = content["version"]
        advice = "train again" if written == __version__ else f"use atft-hpo {written}"
        raise CheckpointError(
            f"{checkpoint}: its weights do not fit the model of its configuration "
            f"({' '.join(str(error).split())[:200]}); {advice}"
        ) from error
    for line in _news(record, panel, any(name in content["model"] for name in SECTOR_WEIGHTS)):
        print(f"{checkpoint}: {line}", file=sys.stderr, flush=True)
    return model.eval(), config


def checkpoint_config(checkpoint: Path) -> Config:
    """The configuration of best_main.pt, final.pt or swa_main.pt, its split as dates.

    Raises:
        CheckpointError: the file is absent or altered, holds no model, or keeps no dates.
    """
    return _config(_model_content(checkpoint), checkpoint)


def split_dates(config: Config) -> SplitDates:
    """The dates that every checkpoint's configuration has."""
    assert config.split.dates is not None, "not the configuration of a checkpoint"
    return config.split.dates


def _model_content(checkpoint: Path) -> dict[str, Any]:
    content = load_checkpoint(checkpoint)
    if "modules" not in content:
        raise CheckpointError(
            f"{checkpoint}: no trained model in it; give best_main.pt, final.pt or swa_main.pt"
        )
    if "panel_record" not in content:
        raise CheckpointError(
            f"{checkpoint}: written by atft-hpo {content['version']}, which kept neither the dates "
            f"of its split nor the names of its sectors; train again with this version "
            f"({__version__}), or use that one"
        )
    return content


def _config(content: dict[str, Any], checkpoint: Path) -> Config:
    config = parse_config(content["config"], str(checkpoint))
    if config.split.dates is None:
        raise CheckpointError(
            f"{checkpoint}: its configuration has no split.dates, so nobody knows which days it "
            "was trained on; train again"
        )
    return config


def _by_sector_name(
    weights: dict[str, Tensor], record: PanelRecord, panel: Panel
) -> dict[str, Tensor]:
    """The weights with their rows of sectors in the order of the panel's."""
    rows = torch.tensor(record.sector_rows(panel))
    return {
        name: _with_unknown(value, record)[rows] if name in SECTOR_WEIGHTS else value
        for name, value in weights.items()
    }


def _with_unknown(value_JH: Tensor, record: PanelRecord) -> Tensor:
    """Row 0 of a panel without stocks of unknown sector is as it was drawn: the mean is better."""
    if record.unknown_sector or len(value_JH) == 1:
        return value_JH
    return torch.cat([value_JH[1:].mean(dim=0, keepdim=True), value_JH[1:]])


def _news(record: PanelRecord, panel: Panel, reads_sectors: bool) -> list[str]:
    """What is new to the checkpoint, in lines."""
    lines = []
    if reads_sectors and (sectors := record.new_sectors(panel)):
        stocks = [f"{name!r} ({count:,})" for name, count in sectors.items()]
        lines.append(
            "sectors that it does not know are taken as unknown, with their number of stocks: "
            f"{listed(stocks, most=10)}"
        )
    if new := record.new_codes(panel.manifest.codes):
        lines.append(f"{new:,} of the panel's {len(panel.manifest.codes):,} stocks are new to it")
    return lines
