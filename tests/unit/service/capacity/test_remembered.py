"""What was measured is kept by study, panel and machine."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from told_probe import on_a_cpu, on_a_gpu

from atft_hpo.config.toml import build_config, with_values
from atft_hpo.paths import Volume
from atft_hpo.service.capacity.density import Chosen, Layout, Measured
from atft_hpo.service.capacity.remembered import kept_layout, measurement
from atft_hpo.service.studies.study import OpenStudy

CHOSEN = Chosen(
    Layout(2, 1), (Measured(Layout(2, 1), 50.0, 4.0, 60.0, 75.0), Measured(Layout(1, 2), 40.0))
)


class Measurements:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Chosen:
        self.count += 1
        return CHOSEN


@pytest.fixture
def study() -> OpenStudy:
    config = build_config({"study": {"name": "s"}})
    return OpenStudy("s", 1, config, Path("panel"), "f" * 64, 20, "")


def changed(study: OpenStudy, **values: Any) -> OpenStudy:
    keys = {key.replace("__", "."): value for key, value in values.items()}
    return dataclasses.replace(study, config=with_values(study.config, keys))


def test_measured_once(tmp_path: Path, study: OpenStudy) -> None:
    measure, volume = Measurements(), Volume(tmp_path)
    assert kept_layout(volume, study, (), 2, measure) == CHOSEN
    assert kept_layout(volume, study, (), 2, measure) == CHOSEN
    assert kept_layout(volume, changed(study, budget__trials=99), (), 2, measure) == CHOSEN
    assert measure.count == 1


def test_measured_again_where_the_cost_of_a_step_may_differ(
    tmp_path: Path, study: OpenStudy
) -> None:
    measure, volume = Measurements(), Volume(tmp_path)
    others = [
        (study, (), 2),
        (study, (), 4),
        (study, ("0",), 2),
        (changed(study, model__hidden=128), (), 2),
        (dataclasses.replace(study, panel_fingerprint="e" * 64), (), 2),
    ]
    for other, gpus, cores in others:
        kept_layout(volume, other, gpus, cores, measure)
    assert measure.count == len(others)


def test_a_damaged_record_is_measured_again(tmp_path: Path, study: OpenStudy) -> None:
    measure, volume = Measurements(), Volume(tmp_path)
    kept_layout(volume, study, (), 2, measure)
    (record,) = (tmp_path / "probes").glob("*.json")
    record.write_text('{"layout": {}}')
    assert kept_layout(volume, study, (), 2, measure) == CHOSEN
    assert measure.count == 2


def test_a_cpu_divides_its_cores_and_gpus_theirs(study: OpenStudy) -> None:
    rising = {1: 10.0, 2: 20.0, 3: 30.0, 4: 20.0}
    level = on_a_cpu(lambda layout: 10.0)
    assert measurement(study, (), 4, level)().layout == Layout(4, 1)
    probe = on_a_gpu(rising)
    assert measurement(study, ("0", "1"), 12, probe)().layout == Layout(3, 2)
    assert probe.asked == [Layout(1, 6), Layout(2, 3), Layout(3, 2), Layout(4, 1)]
    said = changed(study, runtime__threads=5)
    assert measurement(said, ("0", "1"), 12, on_a_gpu(rising))().layout == Layout(3, 5)
