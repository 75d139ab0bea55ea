"""An exported trial reads back equal, has no space, and says where it comes from."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import StudyInfo
from atft_hpo.config.toml import parse_config
from atft_hpo.search.export import export_header, export_text, exported_config
from atft_hpo.search.records import TrialRecord
from atft_hpo.search.space import apply, check_space


def _export(config: Config, record: TrialRecord, checkpoint: str | None = "c0ffee") -> Config:
    return exported_config(
        config,
        record,
        study_name="tiny",
        panel_fingerprint="panel",
        features_sha256="features",
        checkpoint_sha256=checkpoint,
        version="1.2.3",
    )


def test_exported_trial_reads_back_equal(searched: Config, trial_record: TrialRecord) -> None:
    trial_config = apply(searched, {"model.dropout": 0.25, "model.gat.heads": "[2, 1]"})
    exported = _export(trial_config, trial_record)
    assert parse_config(export_text(exported, "best.toml")) == exported
    assert exported.model.gat.heads == (2, 1)
    assert exported.model.dropout == 0.25


def test_only_the_space_is_emptied(searched: Config, trial_record: TrialRecord) -> None:
    exported = _export(searched, trial_record)
    assert exported.search.space == {}
    check_space(exported)
    back = exported.model_copy(update={"search": searched.search, "provenance": None})
    assert back == searched


def test_provenance_comes_from_the_record(searched: Config, trial_record: TrialRecord) -> None:
    origin = _export(searched, trial_record).provenance
    assert origin is not None
    assert (origin.trial, origin.value, origin.study) == (7, 1.25, "tiny")
    assert (origin.panel, origin.features_sha256) == ("panel", "features")
    assert (origin.checkpoint_sha256, origin.version) == ("c0ffee", "1.2.3")


def test_a_trial_without_value_or_checkpoint_can_be_exported(
    searched: Config, trial_record: TrialRecord
) -> None:
    exported = _export(searched, replace(trial_record, value=None), checkpoint=None)
    assert parse_config(export_text(exported, "t.toml")) == exported
    assert "Trial 7 of study tiny.\n" in export_text(exported, "t.toml")


def test_header_names_question_trial_and_command(
    searched: Config, trial_record: TrialRecord
) -> None:
    header = export_header(_export(searched, trial_record), "best.toml")
    assert header == (
        "# Question: Which?\n"
        "# Trial 7 of study tiny, sharpe 1.25.\n"
        "# Train:    atft-hpo train best.toml\n"
        "#           (.venv/bin/atft-hpo after make)\n\n"
    )


@pytest.mark.parametrize("question", ["", "two\nlines", "a\x00b\x7f", "end\u2028next", "\n\n"])
def test_any_question_leaves_the_toml_readable(question: str) -> None:
    config = Config(study=StudyInfo(question=question))
    assert all(line.startswith("#") for line in export_header(config, "x").splitlines()[:-1])
    assert parse_config(export_text(config, "x")) == config


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_headers_are_comments_only(question: str) -> None:
    header = export_header(Config(study=StudyInfo(question=question)), "best.toml")
    assert tomllib.loads(header) == {}
