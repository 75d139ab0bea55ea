from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atft_hpo.config.toml import load_config, with_values
from atft_hpo.errors import StudyError, VolumeError
from atft_hpo.service.database.connection import Database
from atft_hpo.service.queue.operator import request_stop
from atft_hpo.service.studies.study import create_or_continue, open_study, resume_study

pytestmark = pytest.mark.postgres
MakeStudy = Callable[..., Any]


def test_is_created_with_a_file_in_the_volume(database: Database, make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 7})
    assert (study.name, study.target_trials) == ("race", 7)
    assert study.panel == database.volume.root / "panels" / "p"
    assert load_config(database.volume.study("race").config) == study.config
    assert open_study(database, "race") == study
    assert database.optuna_storage.get_study_name_from_id(study.optuna_id) == "race"


def test_total_is_only_raised_and_the_budget_is_the_latest(
    database: Database, make_study: MakeStudy
) -> None:
    make_study(budget={"trials": 7})
    assert make_study(budget={"trials": 9, "max_attempts": 5}).target_trials == 9
    study = make_study(budget={"trials": 3})
    assert study.target_trials == 9
    assert (study.config.budget.trials, study.config.budget.max_attempts) == (9, 3)
    assert resume_study(database, "race").target_trials == 9
    assert resume_study(database, "race", 12).target_trials == 12
    assert open_study(database, "race").config.budget.trials == 12


@pytest.mark.parametrize("again", ["create", "resume"])
def test_running_again_lifts_a_stop(database: Database, make_study: MakeStudy, again: str) -> None:
    make_study()
    request_stop(database, "race", "now")
    assert open_study(database, "race").stop_mode == "now"
    study = make_study() if again == "create" else resume_study(database, "race")
    assert study.stop_mode == ""


def test_changed_space_is_another_study(
    database: Database, make_config: MakeStudy, panel_record: Any
) -> None:
    config = make_config()
    panel = database.volume.root / "p"
    create_or_continue(database, config, panel, "f", panel_record)
    changed = with_values(config, {"study.question": "new"})
    tree = changed.model_dump(mode="json", exclude_none=True)
    tree["search"]["space"]["model.dropout"]["high"] = 0.4
    changed = type(config).model_validate(tree)
    with pytest.raises(StudyError, match=r"space has changed.*0.5 → 0.4.*another study.name"):
        create_or_continue(database, changed, panel, "f", panel_record)


def test_changed_setting_is_another_study(
    database: Database, make_config: MakeStudy, panel_record: Any
) -> None:
    panel = database.volume.root / "p"
    create_or_continue(database, make_config(), panel, "f", panel_record)
    changed = make_config(objective={"metric": "ic"})
    with pytest.raises(StudyError, match=r"objective.metric: sharpe → ic.*another study.name"):
        create_or_continue(database, changed, panel, "f", panel_record)


def test_changed_data_are_another_study(
    database: Database, make_config: MakeStudy, panel_record: Any
) -> None:
    panel = database.volume.root / "p"
    create_or_continue(database, make_config(), panel, "a" * 64, panel_record)
    with pytest.raises(StudyError, match=r"data have changed \(panel a{12} → b{12}\)"):
        create_or_continue(database, make_config(), panel, "b" * 64, panel_record)


def dates_to(last: str) -> dict[str, Any]:
    """A split of data that end so."""
    return {
        "dates": {
            "train_first": "2015-01-05", "train_last": "2017-01-05",
            "validation_first": "2017-02-06", "validation_last": "2018-01-05",
            "test_first": "2018-02-05", "test_last": last, "purge_days": 21, "embargo_days": 0,
        }
    }  # fmt: skip


def test_a_study_keeps_its_dates_and_says_how_data_have_grown(
    database: Database, make_config: MakeStudy, panel_record: Any
) -> None:
    panel, config = database.volume.root / "p", make_config(split=dates_to("2019-01-04"))
    create_or_continue(database, config, panel, "a" * 64, panel_record)
    assert open_study(database, "race").config.split == config.split
    grown = make_config(split=dates_to("2020-01-03"))
    later = panel_record.model_copy(update={"codes": ("A", "B", "NEW")})
    with pytest.raises(StudyError) as refused:
        create_or_continue(database, grown, panel, "b" * 64, later)
    told = str(refused.value)
    assert "data have changed" in told
    assert "last day 2019-01-04 → 2020-01-03; stocks new: 1)" in told
    assert told.endswith("atft-hpo resume race goes on with those it was made with")
    with pytest.raises(StudyError, match=r"has changed \(split.dates.test_last: 2019"):
        create_or_continue(database, grown, panel, "a" * 64, panel_record)
    assert resume_study(database, "race").config.split == config.split


def test_panel_outside_the_volume_keeps_its_path(
    database: Database, make_config: MakeStudy, panel_record: Any
) -> None:
    study = create_or_continue(database, make_config(), Path("/elsewhere/p"), "f", panel_record)
    assert study.panel == Path("/elsewhere/p")


def test_unknown_study(database: Database) -> None:
    with pytest.raises(StudyError, match=r"no study named 'race'.*atft-hpo run STUDY.toml"):
        open_study(database, "race")


def test_unwritable_volume(database: Database, make_config: MakeStudy, panel_record: Any) -> None:
    database.volume.root.write_text("a file")
    with pytest.raises(VolumeError, match="cannot be written"):
        create_or_continue(database, make_config(), Path("/p"), "f", panel_record)
