"""Stages of a trial's start, from what its process printed."""

import json

import pytest

from bench.search import startup, startup_trial

MARKS = {"forked": 10.5, "assigned": 11.0, "panel_opened": 11.25, "begun": 12.0, "first_step": 12.5}


def test_stages_add_up_to_the_whole() -> None:
    found = startup.stages(10.0, f"trial 0, attempt 1\n{startup_trial.MARKS}{json.dumps(MARKS)}\n")
    assert found == {"fork": 0.5, "assignment": 0.5, "panel": 0.25, "set-up": 0.75, "step": 0.5}
    assert sum(found.values()) == 2.5


def test_a_trial_that_did_not_get_there_shows_its_log() -> None:
    with pytest.raises(AssertionError, match="ValueError: broken"):
        startup.stages(10.0, "Traceback\nValueError: broken\n")
