"""Names in the volume: all distinct, all under the root, as documented."""

from pathlib import Path

import pytest

from atft_hpo.paths import AttemptOrigin, PanelPaths, RunPaths, Volume, run_name

ROOT = Path("/volume")
VOLUME = Volume(ROOT)


def _properties(thing: object) -> dict[str, Path]:
    names = [n for n, kind in vars(type(thing)).items() if isinstance(kind, property)]
    return {name: getattr(thing, name) for name in names}


@pytest.mark.parametrize(
    "thing",
    [
        VOLUME,
        VOLUME.study("s"),
        VOLUME.study("s").trial(0),
        RunPaths(ROOT / "run"),
        PanelPaths(ROOT / "panel"),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_names_are_distinct_and_stay_inside(thing: Volume) -> None:
    paths = list(_properties(thing).values())
    assert len(set(paths)) == len(paths) > 0
    assert all(path.is_relative_to(thing.root) and path != thing.root for path in paths)


def test_the_files_of_an_attempt_are_the_documented_ones() -> None:
    attempt = VOLUME.study("tiny").trial(12).attempt(2)
    assert attempt.root == ROOT / "studies/tiny/trials/12/attempt-2"
    assert {path.name for path in _properties(attempt).values()} == {
        "best_main.pt", "final.pt", "swa_main.pt", "last.pt", "config.toml",
        "metrics.parquet", "daily.parquet", "summary.md", "log.txt",
    }  # fmt: skip


def test_a_trial_keeps_its_configuration_beside_its_attempts() -> None:
    trial = VOLUME.study("tiny").trial(3)
    assert trial.config == ROOT / "studies/tiny/trials/3/config.toml"
    assert trial.attempt(1).root.parent == trial.root


def test_studies_runs_and_panels_do_not_meet() -> None:
    places = [
        VOLUME.study("a").root,
        VOLUME.run("a").root,
        VOLUME.panel("a", "0" * 64),
        VOLUME.postgres,
        VOLUME.probe("0" * 64),
    ]
    for place in places:
        others = [other for other in places if other != place]
        assert not any(place.is_relative_to(other) for other in others)


def test_panels_are_told_apart_by_their_digest() -> None:
    assert VOLUME.panel("us", "a" * 64).name == "us-" + "a" * 12
    assert VOLUME.panel("us", "a" * 64) != VOLUME.panel("us", "b" * 64)
    assert VOLUME.panel("us", "a" * 64).parent == VOLUME.panels


def test_graphs_of_other_settings_are_other_files() -> None:
    panel = PanelPaths(ROOT / "p")
    assert panel.graph("a" * 64).name == "graph-aaaaaaaaaaaa.npz"
    assert panel.graph("a" * 64) != panel.graph("b" * 64)
    assert panel.graph("a" * 64) not in _properties(panel).values()


def test_a_file_tells_which_attempt_or_run_it_is_of() -> None:
    of_trial = VOLUME.study("s-1").trial(12).attempt(3).best
    assert AttemptOrigin.of(of_trial) == AttemptOrigin("s-1", 12, 3)
    assert run_name(of_trial) is None
    of_run = VOLUME.run("best").swa
    assert run_name(of_run) == "best"
    assert AttemptOrigin.of(of_run) is None
    assert AttemptOrigin.of(ROOT / "x.pt") is run_name(ROOT / "x.pt") is None
