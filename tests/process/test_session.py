"""Where an agent's trials run: said, measured, or planned by count."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from told_probe import ToldProbe, failing, on_a_cpu, on_a_gpu

from atft_hpo.config.settings import Settings
from atft_hpo.service.agent import session
from atft_hpo.service.database.connection import Database
from atft_hpo.service.process.launchers import Place
from atft_hpo.service.studies.study import open_study

pytestmark = pytest.mark.postgres


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> ToldProbe:
    """A machine of four cores on which one trial with all of them is fastest."""
    told = on_a_cpu(lambda layout: 10.0 * layout.threads)
    monkeypatch.setattr(session, "ProbeProcesses", lambda *_: told)
    monkeypatch.setattr(session, "machine_cores", lambda: 4)
    monkeypatch.setattr(session, "machine_gpus", lambda _: ())
    return told


@pytest.fixture
def places(
    database: Database, settings: Settings, make_study: Any
) -> Callable[..., tuple[Place, ...]]:
    """Places for a study with `threads`; what is said goes to `said`."""

    def plan(
        threads: int | None = None, workers: int | None = None, said: list[str] | None = None,
        resumed: bool = False,
    ) -> tuple[Place, ...]:  # fmt: skip
        runtime = {} if threads is None else {"threads": threads}
        study = open_study(database, "race") if resumed else make_study(runtime=runtime)
        machine = dataclasses.replace(settings, device="auto")
        said = [] if said is None else said
        return session.places_here(database, machine, study, workers, said.append)

    return plan


def test_measured_on_a_cpu_where_nothing_is_said(probe: ToldProbe, places: Any) -> None:
    said: list[str] = []
    assert places(said=said) == (Place(0, None, 4),)
    assert said[-1] == "1 trial × 4 threads: 40 samples/s; 4 × 1: 10; 2 × 2: 20"
    again: list[str] = []
    assert places(said=again) == (Place(0, None, 4),)
    assert again == said[-1:], "shown again, not measured again"
    assert len(probe.asked) == 3


@pytest.mark.parametrize(
    ("threads", "workers", "expected"), [(1, None, (4, 1)), (None, 2, (2, 2)), (2, 3, (3, 2))]
)
def test_what_is_said_is_not_measured(
    probe: ToldProbe, places: Any, threads: Any, workers: Any, expected: tuple[int, int]
) -> None:
    found = places(threads, workers)
    assert (len(found), found[0].threads) == expected
    assert probe.asked == []


def test_nor_one_core(probe: ToldProbe, places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "machine_cores", lambda: 1)
    assert places() == (Place(0, None, 1),)
    assert probe.asked == []


def test_nor_a_study_that_is_over(probe: ToldProbe, places: Any, rows: Any) -> None:
    places(threads=1)
    rows("UPDATE atft_study SET target_trials = 0, config = replace(config, 'threads = 1', '')"
         " RETURNING 1")  # fmt: skip
    assert len(places(resumed=True)) == 4
    assert probe.asked == []


def test_every_gpu_carries_what_the_first_did(
    probe: ToldProbe, places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = []

    def begin(config: Any, panel: Any, settings: Any, gpu: str) -> ToldProbe:
        gpus.append(gpu)
        return on_a_gpu({1: 10.0, 2: 20.0, 3: 30.0, 4: 30.0})

    monkeypatch.setattr(session, "ProbeProcesses", begin)
    monkeypatch.setattr(session, "machine_gpus", lambda _: ("0", "MIG-1"))
    found = places()
    assert [place.gpu for place in found] == ["0", "MIG-1", "0", "MIG-1", "0", "MIG-1"]
    assert {place.threads for place in found} == {1}
    assert gpus == ["0"]


def test_the_count_of_cores_where_nothing_could_be_measured(
    probe: ToldProbe, places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ProbeProcesses", lambda *_: failing("no panel"))
    said: list[str] = []
    assert len(places(said=said)) == 4
    assert said[-1] == "how many trials this machine carries could not be measured: no panel"
