"""Trained variants → one result, as it is written to JSON."""

import dataclasses
from typing import Any

import torch

import atft_hpo
from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.splits import panel_split
from atft_hpo.data.store.panel import Panel
from bench.planted.findings import (
    by_phase,
    lost_share,
    shares,
    targets,
    true_features_in_top_decile,
)
from bench.planted.runs import PhaseTruth
from bench.planted.variants import VARIANTS


def report(
    runs: dict[str, list[list[PhaseTruth]]], ceilings: dict[str, float], config: Config,
    panel: Panel, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """What is printed, and written as JSON."""
    found: dict[str, Any] = {
        name: {
            "share_of_attainable": shares([run[-1] for run in seeds], ceilings),
            "after": by_phase(seeds, ceilings),
            "part": VARIANTS[name].part,
            "lost_of_part": lost_share(runs, name),
            "seconds": [run[-1].seconds for run in seeds],
        }
        for name, seeds in runs.items()
    }
    ends = [run[-1] for run in runs.get("full", [])]
    return {
        "variants": dict(sorted(found.items(), key=lambda item: list(VARIANTS).index(item[0]))),
        "coverage_90": sum(t.coverage_90 for t in ends) / len(ends) if ends else None,
        "selection_top_decile": [true_features_in_top_decile(t) for t in ends],
        "selection_weights": ends[0].selection if ends else None,
        "ceilings": ceilings,
        "oracle_ic": config.data.synthetic.oracle_ic,
        "training_samples": _training_samples(panel, config),
        "targets": [dataclasses.asdict(target) for target in targets(runs, ceilings)],
        "seconds": seconds,
        "versions": {"atft_hpo": atft_hpo.__version__, "torch": torch.__version__},
    }


def _training_samples(panel: Panel, config: Config) -> int:
    train = panel_split(panel, config.split).train
    return int(panel.alive[train.start : train.stop].sum())
