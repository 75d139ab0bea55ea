"""What new trials of a study with a long past cost the service.

result = measured(config, settings, trials=2000, new=3, console=console)
result["milliseconds_per_trial_epoch"], result["by_step"]
"""

import io
import json
import time
from typing import Any

import numpy as np
from rich.console import Console
from sqlalchemy import Connection, text

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import Choices, Domain, FloatRange
from atft_hpo.config.settings import Settings
from atft_hpo.data.store.panel_record import PanelRecord
from atft_hpo.service.database.connection import open_database
from atft_hpo.service.display.live import PlainView
from atft_hpo.service.optuna_bridge.ask import Asker
from atft_hpo.service.studies.study import OpenStudy, create_or_continue
from bench.search.history import steps_of, write_history
from bench.search.trials import run_trial

TARGET_MS = 20.0


def measured(
    config: Config, settings: Settings, trials: int, new: int, console: Console
) -> dict[str, Any]:
    """Milliseconds per trial-epoch by step; the first new trial warms caches and is left out."""
    rng = np.random.default_rng(0)
    database = open_database(settings)
    nothing = PanelRecord(sectors=("unknown",), unknown_sector=True, codes=(), features=())
    panel = settings.volume.root / "panel"
    study = create_or_continue(database, config, panel, "0" * 64, nothing)
    asker = Asker(database, study)
    started = time.monotonic()
    database.run(lambda connection: write_history(connection, study, space(study), trials, rng))
    database.run_single(_settle)
    console.print(f"{trials:,} trials written in {time.monotonic() - started:.0f} s")
    view = PlainView(database, study.name, Console(file=io.StringIO()), period_seconds=0.0)
    runs = [run_trial(database, study, asker, view, rng) for _ in range(new + 1)][1:]
    database.close()
    epochs = len(steps_of(config))
    by_step = {
        name: 1000 * float(np.mean([run[name] for run in runs])) / epochs for name in runs[0]
    }
    return {
        "trials": trials,
        "epochs": epochs,
        "parameters": len(config.search.space),
        "milliseconds_per_trial_epoch": sum(by_step.values()),
        "by_step": by_step,
    }


def _settle(connection: Connection) -> None:
    """A history that was written at once leaves the server work that one written in days does not:
    statistics to gather, pages to write. It is done before the clock runs."""
    connection.execute(text("VACUUM ANALYZE"))
    connection.execute(text("CHECKPOINT"))


def space(study: OpenStudy) -> dict[str, Any]:
    """The search space as Optuna's distributions."""
    return {key: _distribution(domain) for key, domain in study.config.search.space.items()}


def _distribution(domain: Domain) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(domain, Choices):
        return CategoricalDistribution(
            [json.dumps(list(c)) if isinstance(c, tuple) else c for c in domain.choices]
        )
    kind = FloatDistribution if isinstance(domain, FloatRange) else IntDistribution
    left_out = {"step"} if domain.step is None else set()
    return kind(**domain.model_dump(include={"low", "high", "log", "step"} - left_out))
