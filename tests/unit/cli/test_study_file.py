from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Invoke = Callable[..., Any]
STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.toml"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_project_is_valid(invoke: Invoke, study: Path) -> None:
    done = invoke("study", "check", study)
    assert done.code == 0, done.err
    assert "searched keys" in done.out


def test_a_study_that_can_never_prune_is_said_to_be_one(invoke: Invoke, tmp_path: Path) -> None:
    study = next(path for path in STUDIES if path.stem == "us_equities")
    text = study.read_text(encoding="utf-8").replace("warmup_epochs = 0", "warmup_epochs = 1")
    waiting = tmp_path / "waiting.toml"
    waiting.write_text(text, encoding="utf-8")
    assert "can never prune" in invoke("study", "check", waiting).out
    assert "note:" not in invoke("study", "check", study).out


def test_schema_has_every_key_with_its_meaning(invoke: Invoke) -> None:
    lines = invoke("study", "schema").out.splitlines()
    keys = [line.partition(" = ")[0] for line in lines[::2]]
    assert "model.fan.k" in keys
    assert "phases.gat.weights.rank_ic" in keys
    assert "search.sampler.kind" in keys
    assert all(meaning.strip() for meaning in lines[1::2]), "a key without a meaning"
    assert len(keys) == len(set(keys)) > 100


def test_schema_of_a_section(invoke: Invoke) -> None:
    assert invoke("study", "schema", "model.fan.").out == (
        'model.fan.kind = "dft"\n'
        "    `lsq`: least-squares sinusoids of any frequency, `dft`: the bins of the lookback.\n"
        "model.fan.k = 2\n"
        "    Frequencies in the main component; 0 bypasses it exactly.\n"
    )
    assert invoke("study", "schema", "modle").code == 2
