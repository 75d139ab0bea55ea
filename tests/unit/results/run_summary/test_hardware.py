"""Hardware sampling: NVML present, refusing, absent."""

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from atft_hpo.results.run_summary.hardware import (
    GIB,
    GpuReading,
    HardwareMonitor,
    NvmlGpu,
    Reading,
    find_gpu,
    summarise,
)


class NvmlRefusal(Exception):  # noqa: N818  (the library's own name is NVMLError)
    """Stands for pynvml.NVMLError."""


def nvml(refuse: frozenset[str] = frozenset()) -> Any:
    """A library with one GPU that refuses the questions named."""

    def answer(name: str, value: Any) -> Any:
        def ask(*_: Any) -> Any:
            if name in refuse:
                raise NvmlRefusal(name)
            return value

        return ask

    return SimpleNamespace(
        NVMLError=NvmlRefusal,
        NVML_TEMPERATURE_GPU=0,
        nvmlDeviceGetName=lambda _: b"Test GPU",
        nvmlDeviceGetUtilizationRates=answer("rates", SimpleNamespace(gpu=40)),
        nvmlDeviceGetMemoryInfo=answer("memory", SimpleNamespace(used=2 * GIB, total=8 * GIB)),
        nvmlDeviceGetTemperature=answer("temperature", 51),
    )


class CountingGpu:
    """Reports a higher load each time."""

    name = "Counting GPU"

    def __init__(self) -> None:
        self.looks = 0

    def read(self) -> GpuReading:
        self.looks += 1
        return GpuReading(10.0 * self.looks, float(self.looks), 80.0, 30.0 + self.looks)


def test_nvml_gpu_reads_in_gib_and_celsius() -> None:
    gpu = NvmlGpu(nvml(), handle=object())
    assert gpu.name == "Test GPU"
    assert gpu.read() == GpuReading(40.0, 2.0, 8.0, 51.0)


def test_a_reading_the_driver_refuses_is_none() -> None:
    gpu = NvmlGpu(nvml(frozenset({"rates", "temperature"})), handle=object())
    assert gpu.read() == GpuReading(None, 2.0, 8.0, None)


def test_no_gpu_for_the_cpu() -> None:
    assert find_gpu(torch.device("cpu")) is None


def test_no_gpu_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpu(torch.device("cuda", 0)) is None


def test_no_gpu_when_the_driver_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NvmlRefusal("no driver")

    library = SimpleNamespace(NVMLError=NvmlRefusal, nvmlInit=refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert find_gpu(torch.device("cuda", 0)) is None


def test_the_gpu_is_found_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    library = nvml()
    library.nvmlInit = lambda: None
    library.nvmlDeviceGetHandleByUUID = asked.append
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="abc-def")
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    gpu = find_gpu(torch.device("cuda", 3))
    assert gpu is not None
    assert gpu.name == "Test GPU"
    assert asked == ["GPU-abc-def"]


def test_monitor_samples_while_it_is_open_and_stops_after() -> None:
    gpu = CountingGpu()
    with HardwareMonitor(interval_seconds=0.005, gpu=gpu) as monitor:
        deadline = time.monotonic() + 10.0
        while gpu.looks < 3 and time.monotonic() < deadline:
            sum(range(1000))
    looks, usage = gpu.looks, monitor.usage()
    assert looks >= 4, "three samples and the one at the end"
    assert gpu.looks == looks
    assert usage.gpu_percent_max == 10.0 * looks
    assert usage.gpu_percent_mean == pytest.approx(10.0 * (looks + 1) / 2)
    assert (usage.gpu_memory_gib, usage.gpu_memory_total_gib) == (float(looks), 80.0)
    assert usage.gpu_temperature_max == 30.0 + looks
    assert usage.gpu_name == "Counting GPU"
    assert usage.cpu_percent_mean > 0.0
    assert 0.0 < usage.rss_peak_gib < 100.0
    assert monitor.usage() == usage, "a closed monitor no longer counts time"


def test_monitor_without_gpu_says_none() -> None:
    with HardwareMonitor(torch.device("cpu")) as monitor:
        running = monitor.usage()
    assert running.wall_seconds <= monitor.usage().wall_seconds
    gpu = {k: v for k, v in vars(monitor.usage()).items() if k.startswith("gpu")}
    assert set(gpu.values()) == {None}
    assert monitor.usage().cores >= 1


def test_monitor_closes_when_the_run_fails() -> None:
    monitor = HardwareMonitor(interval_seconds=0.005)
    with pytest.raises(ValueError, match="boom"), monitor:
        raise ValueError("boom")
    assert not monitor._thread.is_alive()


def test_cpu_percent_is_cpu_time_over_wall_time() -> None:
    usage = summarise([Reading(1.0, None), Reading(3.0, None)], None, 10.0, 25.0)
    assert usage.cpu_percent_mean == 250.0
    assert usage.rss_peak_gib == 3.0
