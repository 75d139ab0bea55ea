"""A finished run is not trained again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.data.store.panel import Panel
from bench.planted import kept_runs
from bench.planted.runs import PhaseTruth

Truth = Callable[..., PhaseTruth]


def test_the_program_continues_where_it_was(
    config: Config, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truth: Truth
) -> None:
    trained = []
    records = [truth("baseline", 0.5, 0.5), truth("gat", 0.6, 0.6)]
    monkeypatch.setattr(kept_runs, "train_variant", lambda *_: trained.append(1) or records)
    first = kept_runs._run("full", config, panel.root, tmp_path)
    again = kept_runs._run("full", config, panel.root, tmp_path)
    assert first == again == records
    assert len(trained) == 1
    kept_runs._run("full", with_values(config, {"seed": 9}), panel.root, tmp_path)
    assert len(trained) == 2
