"""The gate passes a live network and names what is dead in a dead one."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from atft_hpo.config.schema import Config
from atft_hpo.config.training_schema import LossWeights
from atft_hpo.data.sampling.batch import Batch
from atft_hpo.data.sampling.slices import SliceSource
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import HealthGateError
from atft_hpo.model.atft import ATFT
from atft_hpo.training.forecasting.forecast import new_model
from atft_hpo.training.loss.terms import LossRules
from atft_hpo.training.run import health
from atft_hpo.training.run.health import check_gradients, check_inputs

FAMILIES = {"signal": [0, 1], "returns": [2, 3]}


@pytest.fixture
def config(config_of: Callable[..., Config]) -> Config:
    """The tiny configuration."""
    return config_of()


@pytest.fixture
def model(config: Config, panel: Panel) -> ATFT:
    """An untrained model with everything on."""
    torch.manual_seed(0)
    model = new_model(config, panel)
    model.enable({"fan", "san", "graph"})
    return model


@pytest.fixture
def batch(config: Config, panel: Panel) -> Batch:
    """A slice of the training range that has edges."""
    source = SliceSource(panel, config, torch.device("cpu"))
    return source.batch(source.evaluation_plan(source.split.train)[-1])


@pytest.fixture
def rules(config: Config) -> LossRules:
    """Loss of the last phase."""
    return LossRules.of(config, config.phases.augmentation)


def test_a_fresh_network_passes_and_is_left_as_it_was(
    model: ATFT, batch: Batch, rules: LossRules
) -> None:
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    model.train()
    check_inputs(model, batch, FAMILIES)
    check_gradients(model, batch, rules)
    assert model.training
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_a_head_of_zeros_has_no_spread(model: ATFT, batch: Batch) -> None:
    torch.nn.init.zeros_(model.heads.point.weight)
    with pytest.raises(HealthGateError, match="differ by 0"):
        check_inputs(model, batch, FAMILIES)


def test_trees_do_not_hide_a_head_of_zeros(config: Config, panel: Panel, batch: Batch) -> None:
    trees = config.model.trees.model_copy(update={"rounds": 1})
    stacked = config.model_copy(update={"model": config.model.model_copy(update={"trees": trees})})
    model = new_model(stacked, panel)
    base_NSQ = torch.randn_like(batch.label_NSQ.nan_to_num())
    batch = dataclasses.replace(batch, base_NSQ=base_NSQ)
    check_inputs(model, batch, FAMILIES)
    torch.nn.init.zeros_(model.heads.point.weight)
    with pytest.raises(HealthGateError, match="differ by 0"):
        check_inputs(model, batch, FAMILIES)


def test_a_family_the_network_does_not_read_is_named(model: ATFT, batch: Batch) -> None:
    def blind(_model: torch.nn.Module, args: tuple[Batch]) -> tuple[Batch]:
        keep = torch.tensor([1.0, 1.0, 0.0, 0.0])
        return (dataclasses.replace(args[0], x_NTF=args[0].x_NTF * keep),)

    model.register_forward_pre_hook(blind)
    with pytest.raises(HealthGateError, match="families returns do not move"):
        check_inputs(model, batch, FAMILIES)


def test_a_part_that_no_gradient_reaches_is_named(
    model: ATFT, batch: Batch, rules: LossRules
) -> None:
    model.recurrence.register_forward_hook(lambda _module, _inputs, output: output.detach())
    with pytest.raises(HealthGateError, match=r"recurrence.*selection"):
        check_gradients(model, batch, rules)


def test_frozen_parts_need_no_gradient(model: ATFT, batch: Batch, rules: LossRules) -> None:
    model.freeze("encoder")
    check_gradients(model, batch, rules)


def test_modules_that_are_off_need_no_gradient(model: ATFT, batch: Batch, rules: LossRules) -> None:
    model.enable(())
    check_gradients(model, batch, rules)


def test_a_graph_without_edges_is_dead(model: ATFT, batch: Batch, rules: LossRules) -> None:
    batch.neighbours_SNK.fill_(-1)
    with pytest.raises(HealthGateError, match=r"graph.*edges in the slice: 0"):
        check_gradients(model, batch, rules)


def test_one_edge_in_a_large_slice_is_enough(
    model: ATFT, batch: Batch, rules: LossRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thirty stocks and eighty days the check takes a few, that edge among them."""
    monkeypatch.setattr(health, "PART_STOCKS", 5)
    monkeypatch.setattr(health, "PART_DAYS", 4)
    batch.neighbours_SNK.fill_(-1)
    batch.neighbours_SNK[37, 21, 1] = 2
    seen = list[Batch]()
    model.register_forward_pre_hook(lambda _model, args: seen.append(args[0]))
    check_gradients(model, batch, rules)
    (part,) = seen
    assert part.x_NTF.shape[:2] == (len(part.stocks), batch.context + 4)
    assert {2, 21} < set(part.stocks.tolist())
    assert len(part.stocks) <= 6
    day, stock, _ = (part.neighbours_SNK >= 0).nonzero().squeeze(0).tolist()
    heard = part.neighbours_SNK[day, stock, 1]
    assert (part.first_day + day, part.stocks[stock], part.stocks[heard]) == (
        batch.first_day + 37,
        batch.stocks[21],
        batch.stocks[2],
    )
    first = part.first_day - batch.first_day
    assert torch.equal(part.x_NTF[stock], batch.x_NTF[21, first : first + batch.context + 4])


def test_an_edge_of_a_stock_without_a_label_is_none(
    model: ATFT, batch: Batch, rules: LossRules
) -> None:
    batch.neighbours_SNK.fill_(-1)
    batch.neighbours_SNK[37, 21] = 2
    batch.label_NSQ[21] = torch.nan
    pinball = dataclasses.replace(rules, weights=LossWeights(point=1.0))
    with pytest.raises(HealthGateError, match=r"graph.*edges in the slice: 3"):
        check_gradients(model, batch, pinball)


def test_families_are_asked_all_at_once(model: ATFT, batch: Batch) -> None:
    calls = list[int]()
    model.register_forward_pre_hook(lambda _model, args: calls.append(len(args[0].stocks)))
    check_inputs(model, batch, FAMILIES)
    assert calls == [3 * health.PROBE_STOCKS]


def test_a_gradient_that_is_not_finite_is_named(
    model: ATFT, batch: Batch, rules: LossRules
) -> None:
    model.heads.point.weight.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(HealthGateError, match=r"infinite.*heads\.point\.weight"):
        check_gradients(model, batch, rules)
