"""Figures show the records' numbers, or say why they cannot."""

import dataclasses
from collections.abc import Callable

import plotly.graph_objects as go
import pytest

from atft_hpo.results.study_report import learning_figures, search_figures
from atft_hpo.results.study_report.importance import parameter_importance
from atft_hpo.results.study_report.theme import ACCENT, STATUS_COLOURS, Plate
from atft_hpo.search.outcome import Outcome
from atft_hpo.search.records import StudyRecord

Study = Callable[..., StudyRecord]


def drawn(plate: Plate) -> go.Figure:
    assert plate.figure is not None, plate.note
    return plate.figure


def trace(plate: Plate, name: str) -> go.Scatter:
    return next(t for t in drawn(plate).data if t.name == name)


def all_plates(study: StudyRecord) -> list[Plate]:
    found = parameter_importance(study)
    return [
        search_figures.optimisation_history(study),
        search_figures.importances(study, found),
        search_figures.slices(study, found),
        learning_figures.learning_curves(study),
        learning_figures.learning_curves(study, "rank_ic"),
        learning_figures.epochs_and_time(study),
    ]


def test_every_outcome_has_a_colour() -> None:
    assert {o.name for o in Outcome} <= set(STATUS_COLOURS)
    assert len(set(STATUS_COLOURS.values())) == len(STATUS_COLOURS)


def test_titles_are_sentences_and_axes_are_named(study: StudyRecord) -> None:
    for plate in all_plates(study):
        assert plate.title.endswith(".")
        assert plate.note.endswith(".")
        axes = [a for a in drawn(plate).select_xaxes() if a.title.text]
        axes += [a for a in drawn(plate).select_yaxes() if a.title.text]
        assert axes, plate.title


@pytest.mark.parametrize("outcomes", [[], [Outcome.ERROR] * 3])
def test_nothing_to_draw_is_explained(study_of: Study, outcomes: list[Outcome | None]) -> None:
    study = study_of(outcomes)
    bare = tuple(dataclasses.replace(t, epochs=(), state="waiting") for t in study.trials)
    for plate in all_plates(dataclasses.replace(study, trials=bare)):
        assert plate.figure is None
        assert plate.title.endswith(".")
        assert len(plate.note) > 20


def test_history_shows_values_and_the_best_so_far(study: StudyRecord) -> None:
    plate = search_figures.optimisation_history(study)
    points, best = trace(plate, "complete trial"), trace(plate, "best so far")
    done = [t for t in study.trials if t.outcome is Outcome.COMPLETE]
    assert list(points.x) == [t.number for t in done]
    assert list(points.y) == [t.value for t in done]
    assert best.y[-1] == max(points.y)
    assert all(a <= b for a, b in zip(best.y, best.y[1:], strict=False))
    assert list(trace(plate, "pruned").x) == [2, 8, 13, 15]
    assert trace(plate, "non finite").marker.color == STATUS_COLOURS["NON_FINITE"]
    top = max(done, key=lambda t: t.value or 0.0)
    assert plate.title.startswith(f"Trial {top.number} is the best of 11 complete trials")
    assert points.marker.color[done.index(top)] == ACCENT


def test_importances_say_how_many_trials_are_missing(study_of: Study) -> None:
    plate = search_figures.importances(study_of([Outcome.COMPLETE] * 3), None)
    assert plate.figure is None
    assert "at least 8" in plate.note
    assert "there are 3" in plate.note


def test_slices_have_one_point_per_complete_trial(study: StudyRecord) -> None:
    plate = search_figures.slices(study, {"model.fan.k": 1.0})
    assert len(drawn(plate).data) == 5
    assert all(len(t.x) == 11 for t in drawn(plate).data)
    titles = [axis.title.text for axis in drawn(plate).select_xaxes() if axis.title.text]
    assert titles[0] == "model.fan.k", "most important first"
    types = {axis.title.text: axis.type for axis in drawn(plate).select_xaxes()}
    assert types["optim.lr_scale"] == "log"
    assert types["model.gat.heads"] == "category"


def test_slices_leave_out_the_least_important_of_a_large_space(study_of: Study) -> None:
    keys = [f"phases.{p}.weights.{t}" for p in ("baseline", "gat", "fine_tuning", "augmentation")
            for t in ("sharpe", "ic", "rank_ic", "point")]  # fmt: skip
    space = {key: {"type": "float", "low": 0.0, "high": 1.0} for key in keys}
    plate = search_figures.slices(study_of([Outcome.COMPLETE] * 2, **{"search.space": space}), None)
    assert len(drawn(plate).data) == search_figures.SLICE_LIMIT
    assert "4 least important" in plate.note


def test_curves_mark_the_end_of_pruned_trials(study: StudyRecord) -> None:
    plate = learning_figures.learning_curves(study)
    pruned = [t for t in study.trials if t.outcome is Outcome.PRUNED]
    marks = [t for t in drawn(plate).data if t.mode == "markers" and t.legendgroup == "PRUNED"]
    assert list(marks[0].y) == [t.epochs[-1].smoothed for t in pruned]
    assert list(marks[0].customdata) == [t.number for t in pruned]
    assert not [t for t in drawn(plate).data if t.mode == "markers" and t.legendgroup == "RUNNING"]


def test_curves_align_phases_of_trials_that_left_one_early(study_of: Study) -> None:
    study = study_of([Outcome.COMPLETE, Outcome.COMPLETE])
    early, full = study.trials
    fewer = tuple(e for e in early.epochs if not (e.phase == 1 and e.epoch > 1))
    both = (dataclasses.replace(early, epochs=fewer, value=-9.0), full)
    plate = learning_figures.learning_curves(dataclasses.replace(study, trials=both))
    curve = trace(plate, "complete")
    assert list(curve.x) == [1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, None]
    names = [a.text for a in drawn(plate).layout.annotations]
    assert names == ["Baseline", "Adaptive Norm", "GAT", "Fine-tuning", "Augmentation"]


def test_curves_leave_out_phases_without_epochs(study_of: Study) -> None:
    study = study_of([Outcome.COMPLETE], **{"phases.baseline.epochs": 0, "phases.gat.epochs": 0})
    plate = learning_figures.learning_curves(study)
    assert list(trace(plate, "trial 0, the best").x)[:-1] == list(range(1, 12))


def test_epochs_run_and_saved_add_up(study: StudyRecord) -> None:
    plate = learning_figures.epochs_and_time(study)
    saved, pruned = trace(plate, "saved by pruning"), trace(plate, "pruned")
    assert list(saved.x) == list(pruned.x)
    assert [a + b for a, b in zip(saved.y, pruned.y, strict=True)] == [18] * 4
    assert f"saved {sum(saved.y)} epochs" in plate.title
