"""From a file with trained weights to a model that forecasts.

model, config = load_model(Path("best_main.pt"), panel)
"""

from pathlib import Path

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import parse_config
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import CheckpointError
from atft_hpo.model.atft import ATFT
from atft_hpo.model.forest import Forest
from atft_hpo.training.forecasting.forecast import new_model
from atft_hpo.training.state.checkpoint import load_checkpoint


def load_model(checkpoint: Path, panel: Panel) -> tuple[ATFT, Config]:
    """The model of best_main.pt, final.pt or swa_main.pt, in `eval()` mode on the CPU.

    Raises:
        CheckpointError: the file is absent or altered, holds no model (last.pt), was trained on
            another feature list, or with another version of the model.
    """
    content = load_checkpoint(checkpoint)
    if "features_sha256" not in content:
        raise CheckpointError(
            f"{checkpoint}: no trained model in it; give best_main.pt, final.pt or swa_main.pt"
        )
    expected = panel.manifest.features_sha256
    if content["features_sha256"] != expected:
        raise CheckpointError(
            f"{checkpoint}: trained on the feature list {content['features_sha256'][:12]}, the "
            f"panel has {expected[:12]}; build the panel with the checkpoint's data configuration"
        )
    config = parse_config(content["config"], str(checkpoint))
    model = new_model(config, panel)
    model.enable(content["modules"])
    if forest := content.get("forest"):
        model.forest = Forest.from_content(forest)
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint}: its weights do not fit the model ({' '.join(str(error).split())[:200]})"
            f"; written by atft-hpo {content['version']}, use that version"
        ) from error
    return model.eval(), config
