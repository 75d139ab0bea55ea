"""What the machine did while a run trained: a sampling thread over psutil and NVML.

    with HardwareMonitor(device) as monitor:
        train()
    usage = monitor.usage()

NVML is optional: without a CUDA device, a driver or the library, everything about the GPU is None.
Nothing here can fail a run: a reading the driver refuses (under MIG, say) is None as well.
"""

import os
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import psutil
import torch

GIB = 2.0**30


@dataclass(frozen=True)
class GpuReading:
    """One look at a GPU; None where the driver does not tell."""

    percent: float | None
    """Share of time with a kernel running, 0–100."""
    memory_gib: float | None
    """Memory in use on the device, by all processes."""
    memory_total_gib: float | None
    temperature: float | None
    """Degrees Celsius."""


@dataclass(frozen=True)
class Reading:
    """One look at this process and its GPU."""

    rss_gib: float
    """Resident memory of this process."""
    gpu: GpuReading | None


@dataclass(frozen=True)
class HardwareUsage:
    """Utilisation over a run; None = not known (no GPU, or the driver does not tell)."""

    gpu_name: str | None
    gpu_percent_mean: float | None
    gpu_percent_max: float | None
    gpu_memory_gib: float | None
    """Largest use seen, all processes on the device."""
    gpu_memory_total_gib: float | None
    gpu_temperature_max: float | None
    """Degrees Celsius."""
    cpu_percent_mean: float
    """CPU time over wall time; 100 = one core busy throughout."""
    rss_peak_gib: float
    wall_seconds: float
    cpu_name: str = ""
    cores: int = 0
    """Logical cores of the machine."""


class Gpu(Protocol):
    """One GPU that can be looked at."""

    name: str

    def read(self) -> GpuReading:
        """A reading now; never raises."""
        ...


class NvmlGpu:
    """A GPU seen through NVML, found by its UUID (CUDA's and NVML's numbers differ)."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        name = nvml.nvmlDeviceGetName(handle)
        self.name = name.decode() if isinstance(name, bytes) else str(name)

    def read(self) -> GpuReading:
        nvml, handle = self._nvml, self._handle
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        temperature = self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        return GpuReading(
            percent=None if rates is None else float(rates.gpu),
            memory_gib=None if memory is None else memory.used / GIB,
            memory_total_gib=None if memory is None else memory.total / GIB,
            temperature=None if temperature is None else float(temperature),
        )

    def _ask(self, question: Any, *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None


def find_gpu(device: torch.device) -> Gpu | None:
    """The NVML view of a CUDA device; None for the CPU, or where NVML is absent."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        index = torch.cuda.current_device() if device.index is None else device.index
        uuid = str(torch.cuda.get_device_properties(index).uuid)
        return NvmlGpu(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
    except pynvml.NVMLError:
        return None


class HardwareMonitor:
    """Samples this process and its GPU every `interval_seconds` in a daemon thread."""

    def __init__(
        self,
        device: torch.device | None = None,
        interval_seconds: float = 2.0,
        gpu: Gpu | None = None,
    ) -> None:
        """`gpu` replaces the one found for `device` (default: the CPU, no GPU)."""
        self._gpu = gpu or find_gpu(device or torch.device("cpu"))
        self._interval = interval_seconds
        self._process = psutil.Process()
        self._readings: list[Reading] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="hardware", daemon=True)
        self._wall, self._cpu = time.monotonic(), self._cpu_seconds()
        self._spent: tuple[float, float] | None = None

    def __enter__(self) -> Self:
        self._wall, self._cpu = time.monotonic(), self._cpu_seconds()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._readings.append(self._read())
        self._spent = self._so_far()

    def usage(self) -> HardwareUsage:
        """Utilisation so far; may be asked while sampling goes on."""
        wall_seconds, cpu_seconds = self._spent or self._so_far()
        readings = tuple(self._readings) or (self._read(),)
        name = self._gpu.name if self._gpu else None
        return summarise(readings, name, wall_seconds, cpu_seconds)

    def _so_far(self) -> tuple[float, float]:
        return time.monotonic() - self._wall, self._cpu_seconds() - self._cpu

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _sample(self) -> None:
        while not self._stopped.wait(self._interval):
            self._readings.append(self._read())

    def _read(self) -> Reading:
        return Reading(
            rss_gib=self._process.memory_info().rss / GIB,
            gpu=self._gpu.read() if self._gpu else None,
        )


def summarise(
    readings: Sequence[Reading], gpu_name: str | None, wall_seconds: float, cpu_seconds: float
) -> HardwareUsage:
    """Means and peaks of `readings` (at least one) over a run of `wall_seconds`."""
    gpus = [r.gpu for r in readings if r.gpu is not None]
    percents = [g.percent for g in gpus if g.percent is not None]
    return HardwareUsage(
        gpu_name=gpu_name,
        gpu_percent_mean=sum(percents) / len(percents) if percents else None,
        gpu_percent_max=max(percents, default=None),
        gpu_memory_gib=max((g.memory_gib for g in gpus if g.memory_gib is not None), default=None),
        gpu_memory_total_gib=next((g.memory_total_gib for g in gpus if g.memory_total_gib), None),
        gpu_temperature_max=max(
            (g.temperature for g in gpus if g.temperature is not None), default=None
        ),
        cpu_percent_mean=100.0 * cpu_seconds / max(wall_seconds, 1e-9),
        rss_peak_gib=max(r.rss_gib for r in readings),
        wall_seconds=wall_seconds,
        cpu_name=_cpu_name(),
        cores=os.cpu_count() or 1,
    )


def _cpu_name() -> str:
    """The processor's model where Linux tells it, else its architecture."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
