"""Gates and norms against their formulas."""

import torch
import torch.nn.functional as F  # noqa: N812

from atft_hpo.model.layers import GatedLinearUnit, GatedResidualNetwork, GatedSkip, Norm32


def test_gated_linear_unit_is_value_times_sigmoid_of_gate() -> None:
    unit = GatedLinearUnit(3, 2)
    x = torch.randn(5, 3)
    value, gate = (x @ unit.linear.weight.T + unit.linear.bias).split(2, dim=1)
    assert torch.allclose(unit(x), value * gate.sigmoid(), atol=1e-6)


def test_residual_network_is_the_formula() -> None:
    network = GatedResidualNetwork(3, 4, 2, dropout=0.5).eval()
    x = torch.randn(5, 3)
    branch = network.gate(network.mix(F.elu(network.expand(x))))
    expected = F.layer_norm(network.skip(x) + branch, (2,))
    assert torch.allclose(network(x), expected, atol=1e-6)


def test_equal_widths_skip_by_identity() -> None:
    network = GatedResidualNetwork(4, 6, 4, dropout=0.0)
    torch.nn.init.constant_(network.gate.linear.bias[4:], -1e4)  # gate closed
    x = torch.randn(5, 4)
    assert torch.allclose(network(x), F.layer_norm(x, (4,)), atol=1e-6)


def test_closed_gate_leaves_the_skip() -> None:
    gate = GatedSkip(4, dropout=0.0)
    torch.nn.init.constant_(gate.gate.linear.bias[4:], -1e4)
    x, skip = torch.randn(2, 5, 4)
    assert torch.allclose(gate(x, skip), F.layer_norm(skip, (4,)), atol=1e-6)


def test_norm_returns_float32() -> None:
    out = Norm32(8)(torch.randn(3, 8, dtype=torch.bfloat16))
    assert out.dtype == torch.float32
    assert torch.allclose(out.mean(-1), torch.zeros(3), atol=1e-5)


def test_dropout_in_training_only() -> None:
    network = GatedResidualNetwork(4, 6, 4, dropout=0.5)
    x = torch.randn(50, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
