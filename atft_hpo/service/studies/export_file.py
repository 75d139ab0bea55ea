"""A trial's configuration as a file to take home, with hashes of what it was trained on."""

from pathlib import Path

from atft_hpo import __version__
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import ConfigError
from atft_hpo.paths import TrialPaths, Volume
from atft_hpo.search.export import export_text, exported_config
from atft_hpo.search.records import StudyRecord, TrialRecord
from atft_hpo.search.space import apply
from atft_hpo.training.state.checkpoint import checkpoint_sha256


def export_trial(volume: Volume, study: StudyRecord, trial: TrialRecord, out: Path) -> None:
    """Write `trial` to the TOML file `out`.

    Raises:
        PanelStoreError: the study's panel is gone from the volume.
        ConfigError: `out` cannot be written.
    """
    paths = volume.study(study.name).trial(trial.number)
    panel = Panel.open(Path(study.panel))
    config = exported_config(
        _config_of(study, trial, paths),
        trial,
        study_name=study.name,
        panel_fingerprint=panel.fingerprint,
        features_sha256=panel.manifest.features_sha256,
        checkpoint_sha256=_checkpoint_sha256(trial, paths),
        version=__version__,
    )
    try:
        out.write_text(export_text(config, out.name), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror})") from error


def _config_of(study: StudyRecord, trial: TrialRecord, paths: TrialPaths) -> Config:
    """As the trial process ran it, its threads included; else from the records."""
    if paths.config.exists():
        return load_config(paths.config)
    return apply(study.config, trial.params)


def _checkpoint_sha256(trial: TrialRecord, paths: TrialPaths) -> str | None:
    if not trial.attempts:
        return None
    best = paths.attempt(trial.attempts[-1].attempt).best
    return checkpoint_sha256(best) if best.exists() else None
