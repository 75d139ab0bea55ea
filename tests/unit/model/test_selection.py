"""The selection is its definition; dead tokens and the device change nothing."""

import pytest
import torch
from torch import Tensor

from atft_hpo.model.kernels.tabulated import KNOTS
from atft_hpo.model.selection import VariableSelection

FEATURES, COLUMNS, HIDDEN = 7, (4, 1), 6


def selection(dropout: float = 0.0, columns: tuple[int, ...] = COLUMNS) -> VariableSelection:
    torch.manual_seed(0)
    module = VariableSelection(FEATURES, columns, HIDDEN, dropout, {"fan": 4, "san": 3})
    for added in module.added.values():
        torch.nn.init.normal_(added.strength)
    return module


def inputs(stocks: int = 5, days: int = 20) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    present_NT = torch.rand(stocks, days) > 0.3
    x_NTF = torch.randn(stocks, days, FEATURES) * present_NT.unsqueeze(-1)
    channels = {
        "fan": torch.randn(stocks, days, len(COLUMNS), 4),
        "san": torch.randn(stocks, days, len(COLUMNS), 3),
    }
    return x_NTF, present_NT, channels


def run(
    module: VariableSelection, x_NTF: Tensor, present_NT: Tensor, channels: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    out: tuple[Tensor, Tensor] = module(x_NTF, present_NT, channels, module.table())
    return out


def test_is_the_weighted_sum_of_the_networks() -> None:
    module, (x_NTF, present_NT, channels) = selection().eval(), inputs()
    x_NTF = KNOTS[(x_NTF.unsqueeze(-1) - KNOTS).abs().argmin(dim=-1)]  # where tables are exact
    x_BF = x_NTF.flatten(0, 1)
    others = [f for f in range(FEATURES) if f not in COLUMNS]
    added = [(module.added[n](), c.flatten(0, 1)) for n, c in channels.items()]
    weight_BF = module.weights(x_BF)
    assert torch.allclose(weight_BF.sum(1), torch.ones(len(x_BF)))
    columns = list(COLUMNS)
    expected_BH = torch.einsum(
        "bf,fhb->bh", weight_BF[:, others], module.networks(x_BF[:, others].T)
    ) + module.fan_networks.weighted_sum(x_BF[:, columns], weight_BF[:, columns], added)
    expected_BH = FEATURES**0.5 * expected_BH
    expected = expected_BH.view(*present_NT.shape, -1) * present_NT.unsqueeze(-1)
    assert torch.allclose(run(module, x_NTF, present_NT, channels)[0], expected, atol=1e-5)


def test_dropout_drops_features_in_training_only() -> None:
    module, (x_NTF, present_NT, _) = selection(dropout=0.5), inputs()
    assert not torch.equal(
        run(module, x_NTF, present_NT, {})[0], run(module, x_NTF, present_NT, {})[0]
    )
    module.eval()
    assert torch.equal(run(module, x_NTF, present_NT, {})[0], run(module, x_NTF, present_NT, {})[0])


def test_what_the_lstm_hears_leaves_out_the_fan_columns() -> None:
    module, (x_NTF, present_NT, channels) = selection().eval(), inputs()
    all_NTH, heard_NTH = run(module, x_NTF, present_NT, channels)
    with torch.no_grad():
        for networks in module.fan_networks.parameters():
            networks.zero_()
    without_NTH, same_NTH = run(module, x_NTF, present_NT, {})
    assert torch.equal(heard_NTH, same_NTH)
    assert torch.allclose(without_NTH, heard_NTH, atol=1e-6)
    assert not torch.allclose(all_NTH, heard_NTH, atol=1e-2)


@pytest.mark.parametrize("columns", [(), tuple(range(FEATURES))])
def test_where_all_or_none_are_fan_columns_the_lstm_hears_all(columns: tuple[int, ...]) -> None:
    x_NTF, present_NT, _ = inputs()
    all_NTH, heard_NTH = run(selection(columns=columns).eval(), x_NTF, present_NT, {})
    assert torch.equal(all_NTH, heard_NTH)


def test_dead_tokens_are_zero_and_change_nothing() -> None:
    module, (x_NTF, present_NT, channels) = selection().eval(), inputs()
    out, heard = run(module, x_NTF, present_NT, channels)
    assert not out[~present_NT].any()
    assert not heard[~present_NT].any()
    x_NTF[~present_NT] = 7.0
    assert torch.equal(run(module, x_NTF, present_NT, channels)[0], out)


def test_known_sums_have_the_gradients_of_computed_ones() -> None:
    """And no network of a FAN column is computed before the gradients are."""
    module, (x_NTF, present_NT, channels) = selection().eval(), inputs()
    with torch.no_grad():
        known = run(module, x_NTF, present_NT, channels)
    real, calls = module.fan_networks.run, list[int]()

    def watched(*arguments: Tensor) -> tuple[Tensor, ...]:
        calls.append(1)
        return real(*arguments)

    module.fan_networks.run = watched
    found = []
    for given, before in ((None, 1), (known, 0)):
        calls.clear()
        outs = module(x_NTF, present_NT, channels, module.table(), given)
        assert len(calls) == before
        loss = outs[0].square().sum() + outs[1].sin().sum()
        found.append([*outs, *torch.autograd.grad(loss, tuple(module.parameters()))])
    for computed, again in zip(*found, strict=True):
        torch.testing.assert_close(computed, again)


def test_no_live_token() -> None:
    module, (x_NTF, present_NT, channels) = selection(), inputs()
    out, _ = run(module, x_NTF, torch.zeros_like(present_NT), channels)
    out.sum().backward()
    assert not out.any()


def test_all_tokens_at_once_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CUDA path computes dead tokens too, to keep shapes static."""
    module, (x_NTF, present_NT, channels) = selection().eval(), inputs()
    out, _ = run(module, x_NTF, present_NT, channels)
    everything = torch.arange(present_NT.numel())
    monkeypatch.setattr("atft_hpo.model.selection._tokens", lambda _: everything)
    assert torch.allclose(run(module, x_NTF, present_NT, channels)[0], out, atol=1e-6)


def test_the_interpolation_is_the_form_that_was_chosen() -> None:
    module, given = selection().eval(), inputs()
    expected = run(module, *given)
    form, seen = module.interpolate, []
    module.interpolate = lambda *inputs: seen.append(1) or form(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(run(module, *given), expected, strict=True))
    assert seen == [1]
