from pathlib import Path

import pytest

from atft_hpo.config.settings import Device, Settings
from atft_hpo.errors import ConfigError
from atft_hpo.paths import Volume
from atft_hpo.service.capacity.places import Places, machine_cores, machine_gpus, plan_places
from atft_hpo.service.process.launchers import Place


def settings(device: Device = "auto", gpus: tuple[str, ...] | None = None) -> Settings:
    return Settings(None, Volume(Path("volume")), device, gpus)


def test_one_trial_per_gpu() -> None:
    places = plan_places(settings(), None, None, ("0", "2"), 16)
    assert places == (Place(0, "0", 8), Place(1, "2", 8))


def test_more_workers_share_the_gpus() -> None:
    places = plan_places(settings(), None, 3, ("0", "1"), 12)
    assert [place.gpu for place in places] == ["0", "1", "0"]
    assert {place.threads for place in places} == {4}


@pytest.mark.parametrize(
    ("threads", "workers", "count", "share"),
    [(None, None, 8, 1), (2, None, 4, 2), (16, None, 1, 16), (None, 2, 2, 4), (3, 5, 5, 3)],
)
def test_cpu_places_share_the_cores(
    threads: int | None, workers: int | None, count: int, share: int
) -> None:
    places = plan_places(settings("cpu"), threads, workers, ("0",), 8)
    assert len(places) == count
    assert {(place.gpu, place.threads) for place in places} == {(None, share)}


def test_cuda_without_a_gpu_is_an_error() -> None:
    with pytest.raises(ConfigError, match="device is cuda"):
        plan_places(settings("cuda"), None, None, (), 8)


def test_no_workers_is_an_error() -> None:
    with pytest.raises(ConfigError, match="--workers is 0"):
        plan_places(settings(), None, 0, (), 8)


def test_machine_has_a_core() -> None:
    assert machine_cores() >= 1


def test_visible_devices_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.6.0+cu124")
    assert machine_gpus(settings(gpus=("3", "MIG-1"))) == ("3", "MIG-1")
    assert machine_gpus(settings(gpus=())) == ()
    assert machine_gpus(settings("cpu", gpus=("3",))) == ()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.6.0+cpu")
    assert machine_gpus(settings(gpus=("3",))) == ()


def test_a_place_is_given_up_for_good() -> None:
    one, two, other = Place(0, "0", 1), Place(2, "0", 1), Place(1, "1", 1)
    places = Places([one, other, two])
    assert places.free([two]) == [one, other]
    places.give_up(two, fewest=1)
    assert places.free([]) == [one, other]
    assert (places.count("0"), places.count("1"), places.count(None)) == (1, 1, 0)


def test_places_that_fit_are_not_given_up() -> None:
    """Three trials end at once for want of memory: two may still fit."""
    three = [Place(i, None, 1) for i in range(3)]
    places = Places(three)
    for place in three:
        places.give_up(place, fewest=2)
    assert places.free([]) == three[1:]
