"""Where an agent's trials run: said, measured, or planned by count."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from atft_hpo.config.settings import Settings
from atft_hpo.service import session
from atft_hpo.service.density import Layout, Measured, ProbeFailedError
from atft_hpo.service.slots import Place
from atft_hpo.service.storage import Database
from atft_hpo.service.study import open_study

pytestmark = pytest.mark.postgres


class Probe:
    """A `SideBySide` on which one trial with all cores is fastest, or which fails."""

    measured: list[Layout]
    fails = False

    def __init__(self, config: Any, panel: Any, settings: Any, gpu: str | None) -> None:
        self.gpu = gpu

    def measure(self, layout: Layout) -> Measured:
        if self.fails:
            raise ProbeFailedError("no panel")
        self.measured.append(layout)
        gib = {"memory_gib": 4.0, "free_gib": 90.0 - 30.0 * layout.trials} if self.gpu else {}
        rate = 10.0 * (layout.trials if self.gpu else layout.threads)
        return Measured(layout, rate, **gib)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> type[Probe]:
    class Fresh(Probe):
        measured: list[Layout] = []  # noqa: RUF012

    monkeypatch.setattr(session, "ProbeProcesses", Fresh)
    monkeypatch.setattr(session, "machine_cores", lambda: 4)
    monkeypatch.setattr(session, "machine_gpus", lambda _: ())
    return Fresh


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


def test_measured_on_a_cpu_where_nothing_is_said(probe: type[Probe], places: Any) -> None:
    said: list[str] = []
    assert places(said=said) == (Place(0, None, 4),)
    assert said[-1] == "1 trial × 4 threads: 40 samples/s; 4 × 1: 10; 2 × 2: 20"
    again: list[str] = []
    assert places(said=again) == (Place(0, None, 4),)
    assert again == said[-1:], "shown again, not measured again"
    assert len(probe.measured) == 3


@pytest.mark.parametrize(
    ("threads", "workers", "expected"), [(1, None, (4, 1)), (None, 2, (2, 2)), (2, 3, (3, 2))]
)
def test_what_is_said_is_not_measured(
    probe: type[Probe], places: Any, threads: Any, workers: Any, expected: tuple[int, int]
) -> None:
    found = places(threads, workers)
    assert (len(found), found[0].threads) == expected
    assert probe.measured == []


def test_nor_one_core(probe: type[Probe], places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "machine_cores", lambda: 1)
    assert places() == (Place(0, None, 1),)
    assert probe.measured == []


def test_nor_a_study_that_is_over(probe: type[Probe], places: Any, rows: Any) -> None:
    places(threads=1)
    rows("UPDATE atft_study SET target_trials = 0, config = replace(config, 'threads = 1', '')"
         " RETURNING 1")  # fmt: skip
    assert len(places(resumed=True)) == 4
    assert probe.measured == []


def test_every_gpu_carries_what_the_first_did(
    probe: type[Probe], places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "machine_gpus", lambda _: ("0", "MIG-1"))
    found = places()
    assert [place.gpu for place in found] == ["0", "MIG-1", "0", "MIG-1", "0", "MIG-1"]
    assert {place.threads for place in found} == {1}
    assert [layout.trials for layout in probe.measured] == [1, 2, 3]


def test_the_count_of_cores_where_nothing_could_be_measured(
    probe: type[Probe], places: Any
) -> None:
    probe.fails = True
    said: list[str] = []
    assert len(places(said=said)) == 4
    assert said[-1] == "how many trials this machine carries could not be measured: no panel"
