"""Tiny runs, phase by phase."""

from pathlib import Path

import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.synthetic.planted_parts import PART_SHARES
from bench.planted.findings import (
    by_phase,
)
from bench.planted.runs import train_variant
from bench.planted.variants import VARIANTS

PHASES = ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")


def test_a_tiny_run_records_every_phase(config: Config, panel: Panel, tmp_path: Path) -> None:
    phases = train_variant(config, panel, torch.device("cpu"), tmp_path)
    assert [found.phase for found in phases] == list(PHASES)
    last = phases[-1]
    assert list(last.betas) == list(PART_SHARES)
    assert -1.0 <= last.total <= 1.0
    assert 0.5 < last.coverage_90 <= 1.0
    assert sum(last.selection.values()) == pytest.approx(1.0, abs=1e-3)
    assert list(by_phase([phases], dict.fromkeys(PART_SHARES, 1.0))) == list(PHASES)


def test_a_variant_begins_with_the_phases_that_it_shares(
    config: Config, panel: Panel, tmp_path: Path
) -> None:
    cpu = torch.device("cpu")
    full = train_variant(VARIANTS["full"].config(config, 5), panel, cpu, tmp_path / "shared")
    no_fan = VARIANTS["no_fan"].config(config, 5)
    begun = train_variant(no_fan, panel, cpu, tmp_path / "shared")
    alone = train_variant(no_fan, panel, cpu, tmp_path / "alone")
    assert begun[0] == full[0]
    assert begun[1].betas == alone[1].betas
    assert begun[1].betas != full[1].betas
