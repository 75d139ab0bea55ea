"""What all parts of `bench.gpu` are told, and what several of them ask.

bench = Bench(out, torch.device("cuda"), "seed")
bench.keep("machine", {"device": …})       # writes out/machine.json, prints it
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config, with_values
from atft_hpo.data.store.panel import Panel
from atft_hpo.model.kernels import decomposed, interpolation
from atft_hpo.model.kernels.choose import Comparison
from atft_hpo.model.kernels.grouped import FeatureNetworks
from bench.measuring.console import wide_console
from bench.measuring.machine import matmul_rate
from bench.panel.random_panel import write_panel

STUDY = Path(__file__).parents[2] / "studies" / "jpx_full.toml"
SCALES: dict[str, dict[str, Any]] = {
    "seed": {"days": 2370, "stocks": 1959, "values": {}},
    "tiny": {
        "days": 260,
        "stocks": 40,
        "values": {
            "data.features.limit": 24, "model.hidden": 8, "model.lookback_days": 10,
            "slices.days": 20, "slices.context_days": 10, "graph.window_days": 20,
            **{f"phases.{name}.epochs": 1 for name in (
                "baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")},
        },
    },
}  # fmt: skip
COMPARED = {"cuda": (361, 34, 64), "cpu": (20, 4, 8)}
"""Features, decomposed features and hidden units that the forms of both sums are compared at."""
INPUTS = 12
"""Of a decomposed feature's network."""
console = wide_console()


@dataclass(frozen=True)
class Bench:
    """What all parts are told."""

    out: Path
    device: torch.device
    scale: str
    triton: bool = True
    """Whether Triton's kernels take part."""

    @property
    def config(self) -> Config:
        """The study's configuration, at this scale."""
        values = {"runtime.triton": self.triton, **SCALES[self.scale]["values"]}
        return with_values(load_config(STUDY), values)

    def panel(self) -> Panel:
        """The random panel; made on the first call."""
        size = SCALES[self.scale]
        place = self.out / f"panel-{self.scale}"
        return write_panel(place, size["days"], size["stocks"], self.config.data)

    def keep(self, part: str, result: dict[str, Any]) -> None:
        """Write and print what a part knows so far."""
        console.print_json(self.write(part, result))

    def write(self, part: str, result: dict[str, Any]) -> str:
        """Write it; returns the text."""
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=2) + "\n"
        (self.out / f"{part}.json").write_text(text, encoding="utf-8")
        return text


def comparisons(bench: Bench) -> dict[str, Comparison]:
    """Triton's kernels and the references, of both sums that there are kernels for; none without
    Triton."""
    if not bench.triton:
        return {}
    tabulated, columns, hidden = COMPARED[bench.device.type]
    networks = FeatureNetworks(columns, hidden).to(bench.device)
    return {
        "interpolation": interpolation.compare(tabulated, hidden, bench.device),
        "decomposed_features": decomposed.compare(networks, INPUTS, bench.device),
    }


def float32_peak(bench: Bench) -> float:
    """FLOP/s, as `machine` found it or found now."""
    path = bench.out / "machine.json"
    if path.exists():
        return float(json.loads(path.read_text(encoding="utf-8"))["tflops_float32"]) * 1e12
    return matmul_rate(product_size(bench.device), bench.device)


def product_size(device: torch.device) -> int:
    """Side of the square matrices whose product is timed."""
    return 8192 if device.type == "cuda" else 1024


def peak_memory(bench: Bench) -> dict[str, Any]:
    """GiB of the device that this process has held."""
    if bench.device.type != "cuda":
        return {"peak_memory_gib": None}
    return {"peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30}
