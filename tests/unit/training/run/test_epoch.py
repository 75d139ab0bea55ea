"""Training steps: what they record, that they learn, where they stop."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import NonFiniteError
from atft_hpo.training.phases.epoch_report import Decision
from atft_hpo.training.run import epoch as epoch_module
from atft_hpo.training.run.epoch import EpochFacts, train_epoch
from atft_hpo.training.state.run_state import RunState

ConfigOf = Callable[..., Config]


def go_on() -> Decision:
    """Never stop."""
    return Decision.CONTINUE


def begin(config: Config, panel: Panel, phase: int = 0) -> RunState:
    """A run with the modules of `phase` on."""
    run = RunState.begin(config, panel, torch.device("cpu"))
    run.model.enable(run.phases[phase].config.modules)
    return run


def train(run: RunState, phase: int = 0, epoch: int = 0) -> EpochFacts:
    """One epoch that is not stopped."""
    facts = train_epoch(run, run.phases[phase], epoch, go_on)
    assert isinstance(facts, EpochFacts)
    return facts


def test_facts_are_those_of_the_phase(config_of: ConfigOf, panel: Panel) -> None:
    config = config_of()
    facts = train(begin(config, panel, 2), 2).train
    terms = {"point", "pinball", "sharpe", "rank_ic"}
    names = {"loss", "grad_norm", "lr", "edges", "optimizer_steps", "samples"}
    kinds = ("loss", "grad_norm", "grad_pull")
    expected = names | {f"{kind}_{term}" for kind in kinds for term in terms}
    assert set(facts) == expected
    assert all(math.isfinite(value) for value in facts.values())
    weights = config.phases.gat.weights
    total = sum(getattr(weights, t) * facts[f"loss_{t}"] for t in terms)
    assert facts["loss"] == pytest.approx(total, rel=1e-4)
    assert facts["edges"] > 0


def test_every_labelled_live_cell_is_one_sample(config_of: ConfigOf, panel: Panel) -> None:
    run = begin(config_of(), panel)
    facts = train(run)
    days = run.source.split.train
    assert facts.samples == panel.alive[days.start : days.stop].sum()
    assert facts.train["samples"] == facts.samples


def test_edges_are_zero_while_the_graph_is_off(config_of: ConfigOf, panel: Panel) -> None:
    assert train(begin(config_of(), panel)).train["edges"] == 0.0


def test_the_rate_recorded_is_the_phases(config_of: ConfigOf, panel: Panel) -> None:
    config = config_of(phases={"baseline": {"epochs": 1, "lr": 2e-3}}, optim={"lr_scale": 0.5})
    facts = train(begin(config, panel))
    assert facts.train["lr"] == pytest.approx(0.5 * 2e-3 * config.optim.final_lr_share)


def test_a_few_epochs_learn_the_planted_signal(config_of: ConfigOf, panel: Panel) -> None:
    run = begin(config_of(phases={"baseline": {"epochs": 8, "lr": 1e-2}}), panel)
    losses = [train(run, 0, epoch).train["loss_point"] for epoch in range(8)]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("decision", [Decision.INTERRUPT, Decision.CANCEL])
def test_it_stops_between_two_steps(decision: Decision, config_of: ConfigOf, panel: Panel) -> None:
    run = begin(config_of(), panel)
    answers = iter([Decision.CONTINUE, Decision.CONTINUE, decision])
    assert train_epoch(run, run.phases[0], 0, lambda: next(answers)) is decision
    step = run.optimizer.state[run.model.heads.point.weight]["step"]
    assert step == 2


def test_a_broken_weight_is_reported_by_term_phase_and_step(
    config_of: ConfigOf, panel: Panel
) -> None:
    run = begin(config_of(), panel)
    with torch.no_grad():
        run.model.heads.quantile.bias.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"baseline, epoch 1, step 0: loss_pinball is nan"):
        train_epoch(run, run.phases[0], 1, go_on)


def test_a_broken_gradient_names_its_parameter_and_changes_no_weight(
    config_of: ConfigOf, panel: Panel
) -> None:
    run = begin(config_of(), panel)
    before = run.model.heads.point.weight.detach().clone()
    run.model.heads.point.bias.register_hook(lambda g: g * torch.inf)
    with pytest.raises(
        NonFiniteError, match=r"grad_norm is (inf|nan); gradient not finite in heads\.point\.bias"
    ):
        train_epoch(run, run.phases[0], 0, go_on)
    assert torch.equal(run.model.heads.point.weight, before)


def test_augmentation_is_applied_in_its_phase_only(config_of: ConfigOf, panel: Panel) -> None:
    run = begin(config_of(), panel)
    state = run.augment_generator.get_state()
    train(run, 0)
    assert torch.equal(run.augment_generator.get_state(), state)
    run.model.enable(run.phases[4].config.modules)
    facts = train(run, 4)
    assert not torch.equal(run.augment_generator.get_state(), state)
    assert facts.samples < panel.alive[: run.source.split.train.stop].sum()


def test_stock_subsets_make_more_steps_of_the_same_samples(
    config_of: ConfigOf, panel: Panel
) -> None:
    whole, parts = (
        train(begin(config_of(slices={"stocks": stocks}), panel)) for stocks in (30, 10)
    )
    assert whole.samples == parts.samples
    assert parts.train["optimizer_steps"] == 3 * whole.train["optimizer_steps"]


def test_a_term_pulls_by_its_weight_whatever_its_units(config_of: ConfigOf, panel: Panel) -> None:
    config = config_of(phases={"gat": {"weights": {"sharpe": 0.1, "rank_ic": 0.3}}})
    facts = train(begin(config, panel, 2), 2).train
    reference = facts["grad_pull_point"]
    assert facts["grad_norm_point"] == pytest.approx(reference)
    assert facts["grad_pull_sharpe"] == pytest.approx(0.1 * reference, rel=1e-4)
    assert facts["grad_pull_rank_ic"] == pytest.approx(0.3 * reference, rel=1e-4)
    assert facts["grad_norm_sharpe"] > 10 * reference  # annualised: unbalanced it would drown all


def test_without_balance_a_weight_is_a_factor(config_of: ConfigOf, panel: Panel) -> None:
    config = config_of(loss={"balance": "none"}, phases={"gat": {"weights": {"sharpe": 0.1}}})
    facts = train(begin(config, panel, 2), 2).train
    assert facts["grad_pull_sharpe"] == pytest.approx(0.1 * facts["grad_norm_sharpe"], rel=1e-4)


def test_with_a_half_life_late_slices_pull_harder(
    config_of: ConfigOf, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same steps at rates too small to matter: only the weights differ."""
    norms: dict[int | None, dict[int, float]] = {}
    backward = epoch_module.backward

    def remember(run: RunState, batch: Batch, *rest: Any) -> Any:
        found = backward(run, batch, *rest)
        norms[run.config.loss.half_life_days][batch.first_day] = float(found.values["grad_norm"])
        return found

    monkeypatch.setattr(epoch_module, "backward", remember)
    for half_life in (None, 30):
        norms[half_life] = {}
        config = config_of(
            loss={"half_life_days": half_life}, optim={"lr_scale": 1e-9}, model={"dropout": 0.0}
        )
        train(begin(config, panel))
    ratios = [norms[30][day] / norms[None][day] for day in sorted(norms[30])]
    assert len(ratios) > 2
    assert ratios == sorted(ratios)
    assert ratios[0] < 1 < ratios[-1]
