"""A trial as a configuration to take home: complete, runnable, and with where it comes from.

    config = exported_config(trial_config, record, study_name=…, panel_fingerprint=…, …)
    path.write_text(export_text(config, path.name))      # `atft-hpo train best.toml` takes it

The search space is emptied, everything else of the trial stays: seed, runtime, objective, budget.
"""

from shlex import quote

from atft_hpo.config.schema import Config, Provenance
from atft_hpo.config.toml import dump_config
from atft_hpo.search.records import TrialRecord


def exported_config(
    config_of_trial: Config,
    record: TrialRecord,
    *,
    study_name: str,
    panel_fingerprint: str,
    features_sha256: str,
    checkpoint_sha256: str | None,
    version: str,
) -> Config:
    """The trial's configuration with an empty search space and its provenance.

    Args:
        config_of_trial: the base with the trial's values applied (the trial's config.toml).
        record: gives the trial's number and value.
        study_name: the study in the database.
        panel_fingerprint: of the panel store the trial was trained on.
        features_sha256: hash of that panel's feature list.
        checkpoint_sha256: hash of best_main.pt; None when the trial left none.
        version: version of atft_hpo that trained it.
    """
    provenance = Provenance(
        study=study_name,
        trial=record.number,
        value=record.value,
        panel=panel_fingerprint,
        features_sha256=features_sha256,
        checkpoint_sha256=checkpoint_sha256,
        version=version,
    )
    search = config_of_trial.search.model_copy(update={"space": {}})
    return config_of_trial.model_copy(update={"search": search, "provenance": provenance})


def export_text(config: Config, file_name: str) -> str:
    """TOML of an exported configuration under a comment that says what it is and how to run it."""
    return export_header(config, file_name) + dump_config(config)


def export_header(config: Config, file_name: str) -> str:
    """TOML comment: the study's question, the trial, and the command that trains it again."""
    lines = [f"Question: {line}" for line in _printable_lines(config.study.question)[:1]]
    lines += [f"          {line}" for line in _printable_lines(config.study.question)[1:]]
    if origin := config.provenance:
        value = "" if origin.value is None else f", {config.objective.metric} {origin.value:.4g}"
        lines.append(f"Trial {origin.trial} of study {origin.study}{value}.")
    # The file travels: where the program is on the next machine is not known.
    lines.append(f"Train:    atft-hpo train {quote(file_name)}")
    lines.append("          (.venv/bin/atft-hpo after make)")
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n"


def _printable_lines(text: str) -> list[str]:
    """TOML comments must not hold control characters."""
    cleaned = ("".join(c for c in line if c.isprintable()) for line in text.splitlines())
    return [line.strip() for line in cleaned if line.strip()]
