"""The planted benchmark: ceilings that hold, variants that differ, shares by hand, a tiny run."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import typer

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.data.prepare import prepare_panel
from atft_hpo.data.store.panel import Panel
from atft_hpo.data.synthetic.planted_parts import PART_FEATURES, PART_SHARES
from atft_hpo.paths import Volume
from bench.planted import __main__ as planted
from bench.planted import kept_runs
from bench.planted.attainable import attainable, part_ceilings
from bench.planted.findings import (
    by_phase,
    lost_share,
    shares,
    standard_error,
    targets,
    true_features_in_top_decile,
)
from bench.planted.market import market_config
from bench.planted.report import report
from bench.planted.runs import PhaseTruth, train_variant
from bench.planted.table import print_report
from bench.planted.variants import VARIANTS

PHASES = ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")
TRUE = [name for part, names in PART_FEATURES.items() if part != "d_links" for name in names]


@pytest.fixture(scope="module")
def config() -> Config:
    """A market of a minute's worth, one epoch a phase."""
    values = {f"phases.{name}.epochs": 1 for name in PHASES}
    small = {
        "data.synthetic.noise_features": 4, "model.hidden": 8, "model.attention_heads": 2,
        "model.gat.heads": [2], "slices.stocks": 40,
    }  # fmt: skip
    return with_values(market_config(60, 260, 3), {**values, **small})


@pytest.fixture(scope="module")
def panel(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return prepare_panel(config.data, Volume(tmp_path_factory.mktemp("planted")))


def truth(phase: str, beta: float, total: float, favoured: Sequence[str] = TRUE) -> PhaseTruth:
    """A record whose parts are all learned to `beta`."""
    noise = {f"noise__{i}": 0.001 for i in range(120)}
    selection = {**{name: 0.0005 for name in TRUE}, **noise, **{name: 0.01 for name in favoured}}
    betas = {part: beta for part in PART_SHARES}
    return PhaseTruth(phase, total, betas, 0.3, 0.9, selection, 1.0, 1e4)


def test_ceilings_are_shares_and_follow_the_filters(config: Config, panel: Panel) -> None:
    found = part_ceilings(panel, config)
    assert list(found) == list(PART_SHARES)
    assert all(0.0 <= ceiling <= 1.0 for ceiling in found.values())
    assert found["f_sector"] > 0.9  # a product with the sector gives it all
    assert found["f_sector"] > found["e_arbitrary"]


def test_attainable_is_the_root_of_what_the_parts_can_give() -> None:
    assert attainable(PART_SHARES, dict.fromkeys(PART_SHARES, 1.0)) == pytest.approx(1.0)
    assert attainable({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.0}) == pytest.approx(0.5)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "full"])
def test_an_ablation_lacks_its_module_and_ends_where_its_part_is_learned(
    name: str, config: Config
) -> None:
    full, ablated = (VARIANTS[n].config(config, 5) for n in ("full", name))
    assert full.seed == ablated.seed == 5
    assert full.phases == config.phases
    last = PHASES.index(VARIANTS[name].end)
    assert [phase for phase, _ in ablated.phases.in_order] == list(PHASES[: last + 1])
    modules = {module for _, phase in ablated.phases.in_order for module in phase.modules}
    reached = {"fan", "san", "graph"} if last == 2 else {"fan", "san"}
    assert modules == reached - set(VARIANTS[name].without)
    if not VARIANTS[name].without:
        assert ablated.model != full.model


def test_shares_are_of_the_ceilings() -> None:
    ceilings = dict.fromkeys(PART_SHARES, 0.64)
    found = shares([truth("gat", 0.32, 0.4), truth("gat", 0.48, 0.6)], ceilings)
    assert found["total"] == pytest.approx(0.5 / 0.8)
    assert found["parts"]["a_effects"] == pytest.approx(0.40 / 0.64)
    assert found["total_standard_error"] == pytest.approx(standard_error([0.5, 0.75]))
    assert shares([truth("gat", 0.3, 0.4)], ceilings)["total_standard_error"] is None


def test_a_loss_is_measured_at_the_same_phase() -> None:
    full = [truth("gat", 0.8, 0.8), truth("fine_tuning", 1.0, 1.0)]
    runs = {"full": [full], "no_graph": [[truth("gat", 0.08, 0.7)]]}
    assert lost_share(runs, "no_graph") == pytest.approx(0.9)
    assert lost_share(runs, "full") is None
    assert lost_share({"full": [full]}, "no_graph") is None


def test_targets_say_what_was_missed() -> None:
    ceilings = dict.fromkeys(PART_SHARES, 1.0)
    good = [truth("baseline", 0.7, 0.8), truth("gat", 0.9, 0.95)]
    missed = [t.name for t in targets({"full": [good]}, ceilings) if not t.reached]
    assert missed == []
    bad = [truth("gat", 0.5, 0.6, favoured=TRUE[:6])]
    missed = [t.name for t in targets({"full": [bad]}, ceilings) if not t.reached]
    assert len(missed) == 1 + len(PART_SHARES) + 1


@pytest.mark.parametrize(
    ("beta", "total", "missed"), [(0.6, 0.9, "a part's"), (0.9, 0.6, "the total's")]
)
def test_a_phase_that_forgets_is_noticed(beta: float, total: float, missed: str) -> None:
    ceilings = dict.fromkeys(PART_SHARES, 1.0)
    runs = [
        [truth("gat", 0.9 + noise, 0.9 + noise), truth("fine_tuning", beta + noise, total + noise)]
        for noise in (0.0, 0.01, 0.02)
    ]
    falls = [t for t in targets({"full": runs}, ceilings) if "largest fall" in t.name]
    assert len(falls) == 2
    for fall in falls:
        assert fall.reached is not fall.name.startswith(missed)
        assert (fall.found > 1.0) is fall.name.startswith(missed)


def test_top_decile_counts_what_the_trunk_needs() -> None:
    assert true_features_in_top_decile(truth("gat", 1.0, 1.0)) == 1.0
    half = truth("gat", 1.0, 1.0, favoured=TRUE[:6])
    assert true_features_in_top_decile(half) == pytest.approx(6 / len(TRUE))


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


def test_the_program_continues_where_it_was(
    config: Config, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    records = [truth("baseline", 0.5, 0.5), truth("gat", 0.6, 0.6)]
    monkeypatch.setattr(kept_runs, "train_variant", lambda *_: trained.append(1) or records)
    first = kept_runs._run("full", config, panel.root, tmp_path)
    again = kept_runs._run("full", config, panel.root, tmp_path)
    assert first == again == records
    assert len(trained) == 1
    kept_runs._run("full", with_values(config, {"seed": 9}), panel.root, tmp_path)
    assert len(trained) == 2


def test_the_report_has_the_shape_it_promises(
    config: Config, panel: Panel, capsys: pytest.CaptureFixture[str]
) -> None:
    ceilings = dict.fromkeys(PART_SHARES, 1.0)
    runs = {"full": [[truth("gat", 0.9, 0.95)]], "no_graph": [[truth("gat", 0.0, 0.8)]]}
    found = json.loads(json.dumps(report(runs, ceilings, config, panel, 60.0)))
    assert found["variants"]["full"]["share_of_attainable"]["total"] == pytest.approx(0.95)
    assert set(found["variants"]["full"]["share_of_attainable"]["parts"]) == set(PART_SHARES)
    assert found["coverage_90"] == pytest.approx(0.9)
    print_report(found)
    printed = capsys.readouterr().out
    assert "no_graph loses d_links" in printed
    assert "reached" in printed


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="no_gat: expected some of full"):
        planted._chosen("full,no_gat")
