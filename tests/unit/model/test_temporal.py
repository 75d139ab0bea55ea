"""The trunk: attention by its formula, a signed lag kernel, an idle FiLM, causality."""

import pytest
import torch
from torch import Tensor

from atft_hpo.model import temporal
from atft_hpo.model.temporal import (
    MEMORY_DAYS,
    BandAttention,
    FeedForward,
    Recurrence,
    StaticEnrichment,
)

LOOKBACK, HEADS, HIDDEN = 5, 2, 4


def attention(kernel: float = 0.5) -> BandAttention:
    module = BandAttention(HIDDEN, HEADS, LOOKBACK, dropout=0.1).eval()
    torch.nn.init.normal_(module.lag_kernel, std=kernel)
    return module


@torch.no_grad()
def by_hand(
    module: BandAttention, x_NTH: Tensor, code_NTH: Tensor, present_NT: Tensor, context: int
) -> Tensor:
    """Day by day and key by key."""
    width = HIDDEN // HEADS
    query, key, value = module.query(x_NTH), module.key(x_NTH), module.value(x_NTH)
    value = value * present_NT.unsqueeze(-1)
    lagged = code_NTH * present_NT.unsqueeze(-1)
    rows = []
    for n in range(len(x_NTH)):
        for t in range(context, x_NTH.shape[1]):
            band = range(max(0, t - LOOKBACK + 1), t + 1)
            keys = [s for s in band if present_NT[n, s] or s == t]
            mixed = torch.zeros(HIDDEN)
            for a in range(HEADS):
                part = slice(a * width, (a + 1) * width)
                score = torch.stack([query[n, t, part] @ key[n, s, part] for s in keys])
                weight = (score * width**-0.5).softmax(0)
                mixed += sum(w * value[n, s] for w, s in zip(weight, keys, strict=True)) / HEADS
            summed = torch.stack([module.kernel()[:, t - s] * lagged[n, s] for s in band]).sum(0)
            rows.append(mixed + module.lag_out(summed))
    mixed_NSH = torch.stack(rows).view(len(x_NTH), -1, HIDDEN)
    out: Tensor = module.gate(module.out(mixed_NSH), x_NTH[:, context:])
    return out


def test_attention_is_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "BLOCK_DAYS", 3)
    x_NTH, code_NTH = torch.randn(2, 3, 14, HIDDEN)
    present_NT = torch.rand(3, 14) > 0.3
    module = attention()
    expected = by_hand(module, x_NTH, code_NTH, present_NT, 6)
    assert torch.allclose(module(x_NTH, code_NTH, present_NT, 6), expected, atol=1e-5)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x_NTH, present_NT, module = torch.randn(3, 40, HIDDEN), torch.rand(3, 40) > 0.2, attention()
    whole = module(x_NTH, x_NTH, present_NT, 4)
    monkeypatch.setattr(temporal, "BLOCK_DAYS", 1)
    assert torch.allclose(module(x_NTH, x_NTH, present_NT, 4), whole, atol=1e-6)


def test_lag_kernel_can_take_minus_an_old_value() -> None:
    """What no softmax can: the memory moves against the value of four days ago."""
    module = attention(kernel=0.0)
    with torch.no_grad():
        module.lag_kernel[:, 4] = -3.0  # the basis begins with single days
    lagged_NTH = torch.randn(1, 5, HIDDEN)
    lag_ST = torch.tensor([[4, 3, 2, 1, 0]])
    expected = module.lag_out(-3.0 * lagged_NTH[:, :1])
    assert torch.allclose(module._remember(lagged_NTH, lag_ST), expected, atol=1e-5)


def test_the_kernels_basis_holds_days_memories_and_the_mean() -> None:
    basis = BandAttention(HIDDEN, HEADS, 40, dropout=0.0).basis
    assert torch.equal(basis[:40], torch.eye(40))
    assert torch.allclose(basis.norm(dim=1), torch.ones(len(basis)))
    memories = basis[40:-1]
    assert len(memories) == len(MEMORY_DAYS)
    assert torch.allclose(memories[:, 5] / memories[:, 4], memories[:, 1] / memories[:, 0])
    decay = 5.0 / 6.0  # a mean lag of five days
    assert torch.allclose(memories[1, 1:] / memories[1, :-1], torch.full((39,), decay))
    assert torch.allclose(basis[-1], torch.full((40,), 40.0**-0.5))


def test_lag_kernel_starts_at_zero_with_a_live_gradient() -> None:
    module = BandAttention(HIDDEN, HEADS, LOOKBACK, dropout=0.0)
    assert not module.lag_kernel.any()
    x_NTH = torch.randn(3, 12, HIDDEN)
    out = module(x_NTH, x_NTH, torch.ones(3, 12, dtype=torch.bool), 5)
    out[..., 0].square().sum().backward()
    assert module.lag_kernel.grad is not None
    assert module.lag_kernel.grad.all()


def test_dead_stock_is_finite() -> None:
    x_NTH = torch.randn(2, 12, HIDDEN)
    out = attention()(x_NTH, x_NTH, torch.zeros(2, 12, dtype=torch.bool), 5)
    assert out.isfinite().all()


def test_film_starts_idle_and_can_flip_a_sign() -> None:
    module = StaticEnrichment(HIDDEN, 3, dropout=0.0)
    x_NTH, sector_NT = torch.randn(2, 5, HIDDEN), torch.tensor([[0], [2]])
    idle_NTH = torch.zeros_like(x_NTH)
    assert torch.equal(module(x_NTH, idle_NTH, sector_NT), module.network(x_NTH))
    torch.nn.init.constant_(module.film.bias[:HIDDEN], -2.0)  # γ = −1
    assert torch.allclose(module(x_NTH, idle_NTH, sector_NT), module.network(-x_NTH), atol=1e-6)


def test_the_code_means_something_else_in_each_sector() -> None:
    module = StaticEnrichment(HIDDEN, 3, dropout=0.0)
    x_NTH, code_NTH = torch.randn(2, 2, 5, HIDDEN)
    sector_NT = torch.tensor([[0], [2]])
    meaning_N1H = module.meaning.weight[sector_NT]
    expected = module.network(x_NTH + code_NTH * meaning_N1H)
    assert torch.allclose(module(x_NTH, code_NTH, sector_NT), expected, atol=1e-6)
    assert not torch.allclose(meaning_N1H[0], meaning_N1H[1])
    changes_NT = torch.tensor([[0, 0, 2, 2, 2], [2, 2, 2, 2, 2]])
    changed = module(x_NTH, code_NTH, changes_NT)
    assert torch.allclose(changed[1], expected[1], atol=1e-6)
    assert torch.allclose(changed[0, :2], expected[0, :2], atol=1e-6)
    assert not torch.allclose(changed[0, 2:], expected[0, 2:])


def test_without_static_no_sector_is_read() -> None:
    module = StaticEnrichment(HIDDEN, 3, dropout=0.0, static=False)
    x_NTH, code_NTH = torch.randn(2, 2, 5, HIDDEN)
    out = module(x_NTH, code_NTH, torch.tensor([[0], [2]]))
    assert torch.equal(out, module(x_NTH, -code_NTH, torch.tensor([[1], [1]])))


def test_film_learns_from_the_first_step() -> None:
    module = StaticEnrichment(HIDDEN, 3, dropout=0.0)
    x_NTH, code_NTH = torch.randn(2, 2, 5, HIDDEN)
    module(x_NTH, code_NTH, torch.tensor([[0], [2]]))[..., 0].sum().backward()
    assert module.film.weight.grad is not None
    assert module.film.weight.grad.any()


@pytest.mark.parametrize("layers", [1, 2])
def test_recurrence_is_causal(layers: int) -> None:
    module = Recurrence(HIDDEN, layers, dropout=0.2).eval()
    x_NTH = torch.randn(3, 10, HIDDEN)
    changed = x_NTH.clone()
    changed[:, 6:] += 1.0
    assert torch.equal(module(x_NTH, x_NTH)[:, :6], module(changed, changed)[:, :6])


def test_what_the_lstm_does_not_hear_passes_by_it() -> None:
    module = Recurrence(HIDDEN, 1, dropout=0.2).eval()
    selected_NTH, heard_NTH = torch.randn(2, 3, 10, HIDDEN)
    changed_NTH = selected_NTH.clone()
    changed_NTH[:, 4] += 1.0
    differs_T = (module(selected_NTH, heard_NTH) != module(changed_NTH, heard_NTH)).any(-1).any(0)
    assert differs_T.nonzero().flatten().tolist() == [4]


def test_feed_forward_keeps_shape() -> None:
    x, skip = torch.randn(2, 3, 5, HIDDEN)
    assert FeedForward(HIDDEN, 0.1).eval()(x, skip).shape == (3, 5, HIDDEN)


class _OnAGpu(Tensor):
    """A tensor that says so."""

    is_cuda = True


@pytest.mark.parametrize("autocasts", [False, True])
def test_the_lstm_is_float32_wherever_it_runs(autocasts: bool) -> None:
    """Autocast on a GPU would make it float16, also where nobody asked for autocast."""
    module, found = Recurrence(HIDDEN, 1, dropout=0.0), []
    module.lstm.register_forward_hook(lambda _, __, out: found.append(out[0].dtype))
    x_NTH = torch.randn(3, 6, HIDDEN).as_subclass(_OnAGpu)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocasts):
        module(x_NTH, x_NTH)
    assert found == [torch.float32]


def test_layers_are_those_of_one_lstm_and_drop_by_torchs_generator() -> None:
    module, one = Recurrence(HIDDEN, 3, dropout=0.4), torch.nn.LSTM(HIDDEN, HIDDEN, 3, True, True)
    lstms = [m for m in module.modules() if isinstance(m, torch.nn.LSTM)]
    assert [(m.num_layers, m.dropout) for m in lstms] == [(1, 0.0)] * 3
    with torch.no_grad():
        for layer, lstm in enumerate(lstms):
            for name, value in lstm.named_parameters():
                getattr(one, name.replace("l0", f"l{layer}")).copy_(value)
        x_NTH, found = torch.randn(2, 7, HIDDEN), []
        lstms[-1].register_forward_hook(lambda _, __, out: found.append(out[0]))
        module.eval()(x_NTH, x_NTH)
        assert torch.allclose(found[0], one(x_NTH)[0], atol=1e-6)
        module.train()(x_NTH, x_NTH)
        assert not torch.allclose(found[1], found[0])
