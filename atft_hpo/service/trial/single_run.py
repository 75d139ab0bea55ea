"""`atft-hpo train`: one run outside of any study and any database.

Its files are those of a trial's attempt, under `runs/<name>/`. A run that was interrupted continues
when it is started again with the same configuration; one that is complete is left as it is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import dump_config, load_config
from atft_hpo.errors import ConfigError, TrainingError, VolumeError
from atft_hpo.paths import RunPaths
from atft_hpo.progress import Progress
from atft_hpo.results.status_lines import epoch_line
from atft_hpo.service.process.signals import Signals
from atft_hpo.service.studies.changes import changed_keys
from atft_hpo.service.trial.error_outcome import is_out_of_memory
from atft_hpo.service.trial.training import Work
from atft_hpo.training.phases.epoch_report import Decision, Ending, EpochReport, TrainingResult


@dataclass(frozen=True)
class SingleRun:
    """What to train, and where its files go."""

    name: str
    config: Config
    run: RunPaths

    @property
    def is_complete(self) -> bool:
        """Whether it came to its end before; the summary is written last."""
        return self.run.summary.exists()


def prepare_run(name: str, config: Config, run: RunPaths) -> SingleRun:
    """A run of `config`, new or continued; its configuration stands in its directory.

    Raises:
        ConfigError: a run of that name exists with another configuration.
        VolumeError: the directory cannot be written.
    """
    if run.config.exists():
        changes = changed_keys(load_config(run.config), config)
        if changes:
            raise ConfigError(
                f"run {name!r} exists with another configuration ({'; '.join(changes[:3])}); "
                "choose another --name"
            )
        return SingleRun(name, config, run)
    try:
        run.root.mkdir(parents=True, exist_ok=True)
        run.config.write_text(dump_config(config), encoding="utf-8")
    except OSError as error:
        raise VolumeError(
            f"{run.root}: cannot be written ({error.strerror}); free space or set ATFT_HPO_VOLUME"
        ) from error
    return SingleRun(name, config, run)


def train_once(single: SingleRun, panel: Any, work: Work, say: Progress) -> TrainingResult:
    """Train to the end, or to the first SIGINT; a second run continues from last.pt.

    Raises:
        TrainingError: the memory does not suffice, or what `run_phases` raises.
    """
    run = single.run
    resume_from: Path | None = run.last if run.last.exists() else None
    if resume_from:
        say(f"continuing {single.name} from {resume_from}")

    def on_epoch(report: EpochReport) -> Decision:
        say(epoch_line(single.name, report))
        return Decision.CONTINUE

    with Signals() as signals:

        def should_stop() -> Decision:
            return Decision.INTERRUPT if signals.count else Decision.CONTINUE

        try:
            result = work.train(single.config, panel, run, on_epoch, resume_from, should_stop)
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise TrainingError(
                    f"out of memory ({error}); lower slices.days, slices.stocks or "
                    "runtime.chunk_tokens"
                ) from error
            raise
    if result.ending is Ending.COMPLETE:
        work.summarise(single.config, result, run, panel, f"Run {single.name}", "COMPLETE")
    return result
