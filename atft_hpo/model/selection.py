"""Variable selection: one gated residual network per feature, and a network that weighs them.

    selection = VariableSelection(features, fan_columns, hidden, dropout, chunk_tokens)
    selected_NTH = selection(x_NTF, alive_NT, channels)

Source: Lim et al. 2021, §4.2 (equations 6–8). No loop runs over features. Networks of one number
are tabulated (see `tabulated`); those of the FAN columns, which take added channels, are grouped
matrix products over tokens in chunks, recomputed in the backward pass so that memory stays
bounded. Dropout acts on the selection weights: a feature is dropped for a token as a whole. On
elements of [F, B, H] it would cost as much as the networks.

A token is one (stock, day); B counts tokens, c channels. On CPU only live tokens are computed; on
CUDA all are, since gathering them would wait for the device.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from atft_hpo.model.layers import GatedResidualNetwork
from atft_hpo.model.normalization import FAN_CHANNELS, SAN_CHANNELS
from atft_hpo.model.tabulated import KNOTS, weighted_sum

NORM_EPSILON = 1e-5


class FeatureNetworks(nn.Module):
    """A gated residual network per feature, of one input: 3H² + 9H parameters each.

    LayerNorm(a·x + b + GLU(W₄(W₁ ELU(w·x + v) + b₁) + b₄)), equations 2–5 of Lim et al. Nothing
    stands between W₁ and W₄, so their product is formed first. Tokens are the innermost axis:
    every pass over [F, H, B] runs over contiguous memory.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.entry_weight = _uniform(1.0, features, hidden, 1)
        self.entry_bias = _uniform(1.0, features, hidden, 1)
        self.skip_weight = _uniform(1.0, features, hidden, 1)
        self.skip_bias = _uniform(1.0, features, hidden, 1)
        self.mix_weight = _uniform(hidden**-0.5, features, hidden, hidden)
        self.mix_bias = _uniform(hidden**-0.5, features, hidden, 1)
        self.gate_weight = _uniform(hidden**-0.5, features, 2 * hidden, hidden)
        self.gate_bias = _uniform(hidden**-0.5, features, 2 * hidden, 1)
        self.norm_gain = nn.Parameter(torch.ones(features, hidden, 1))
        self.norm_bias = nn.Parameter(torch.zeros(features, hidden, 1))

    def forward(self, x_FB: Tensor, added: Sequence[tuple[Tensor, Tensor]] = ()) -> Tensor:
        """[F, B] → [F, H, B].

        `added`: pairs of weights [F, 2H, c] and channels [F, c, B], for the first layer (the
        upper H rows) and the skip.
        """
        x_F1B = x_FB.unsqueeze(1)
        first_FHB = torch.addcmul(self.entry_bias, self.entry_weight, x_F1B)
        skip_FHB = torch.addcmul(self.skip_bias, self.skip_weight, x_F1B)
        for weight_FHc, channels_FcB in added:
            first_weight_FHc, skip_weight_FHc = weight_FHc.chunk(2, dim=1)
            first_FHB = torch.baddbmm(first_FHB, first_weight_FHc, channels_FcB)
            skip_FHB = torch.baddbmm(skip_FHB, skip_weight_FHc, channels_FcB)
        weight_FHH = self.gate_weight @ self.mix_weight
        bias_FH1 = torch.baddbmm(self.gate_bias, self.gate_weight, self.mix_bias)
        value_FHB, gate_FHB = torch.baddbmm(bias_FH1, weight_FHH, F.elu(first_FHB)).chunk(2, dim=1)
        normed_FHB = _normalise(torch.addcmul(skip_FHB, value_FHB, gate_FHB.sigmoid()))
        return torch.addcmul(self.norm_bias, self.norm_gain, normed_FHB)

    def table(self) -> Tensor:
        """The networks at the knots, [F, M, H]."""
        knots_FM = KNOTS.to(self.entry_bias.device).expand(len(self.entry_bias), -1)
        table_FHM: Tensor = self(knots_FM)
        return table_FHM.mT


class AddedChannels(nn.Module):
    """Weights of extra inputs of the FAN columns, each times a strength that starts at zero."""

    def __init__(self, columns: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(columns, channels))
        self.weight = _uniform(1.0, columns, 2 * hidden, channels)

    def forward(self) -> Tensor:
        """[F_fan, 2H, c]."""
        return self.strength.unsqueeze(1) * self.weight


class VariableSelection(nn.Module):
    """Σ_f weight_f(x) · network_f(x_f) for every live token."""

    columns: Tensor
    order: Tensor

    def __init__(
        self, features: int, fan_columns: tuple[int, ...], hidden: int, dropout: float,
        chunk_tokens: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.hidden, self.chunk_tokens = hidden, chunk_tokens
        others = sorted(set(range(features)) - set(fan_columns))
        self.register_buffer("columns", torch.tensor(fan_columns).long(), persistent=False)
        # Inside, the FAN columns come last, so that taking either group is a view.
        order = torch.tensor([*others, *fan_columns]).long()
        self.register_buffer("order", order, persistent=False)
        self.tabulated = len(others)
        self.weigh = GatedResidualNetwork(features, hidden, features, dropout)
        self.dropout = nn.Dropout(dropout)
        self.networks = FeatureNetworks(len(others), hidden)
        self.fan_networks = FeatureNetworks(len(fan_columns), hidden)
        sizes = {"fan": len(FAN_CHANNELS), "san": len(SAN_CHANNELS)} if fan_columns else {}
        self.added = nn.ModuleDict(
            {name: AddedChannels(len(fan_columns), size, hidden) for name, size in sizes.items()}
        )

    def forward(self, x_NTF: Tensor, alive_NT: Tensor, channels: Mapping[str, Tensor]) -> Tensor:
        """[N, T, F], bool [N, T], {"fan" | "san": [N, T, F_fan, c]} → float32 [N, T, H].

        Dead tokens are 0. The result does not depend on `chunk_tokens`, up to rounding.
        """
        token_B = _tokens(alive_NT)
        x_BF = self._ordered(x_NTF.flatten(0, 1).index_select(0, token_B))
        weight_BF = self.dropout(self._chunked(self._weigh, x_BF))
        (x_Bo, x_Bf), (weight_Bo, weight_Bf) = self._split(x_BF), self._split(weight_BF)
        with torch.autocast(x_NTF.device.type, enabled=False):
            out_BH = x_BF.new_zeros(len(x_BF), self.hidden)
            if self.tabulated:
                out_BH = weighted_sum(x_Bo, weight_Bo, self.networks.table())
            if len(self.columns):
                names = tuple(sorted(channels))
                parts = (channels[name].flatten(0, 1).index_select(0, token_B) for name in names)
                fan_sum = partial(self._fan_sum, names)
                out_BH = out_BH + self._chunked(fan_sum, x_Bf, weight_Bf, *parts)
        dense_BH = out_BH.new_zeros(alive_NT.numel(), self.hidden).index_copy(0, token_B, out_BH)
        return dense_BH.view(*alive_NT.shape, -1) * alive_NT.unsqueeze(-1)

    def weights(self, x_BF: Tensor) -> Tensor:
        """Softmax weights of features in the order given, float32 [B, F]."""
        ordered_BF = self._weigh(self._ordered(x_BF))
        return torch.empty_like(ordered_BF).index_copy(1, self.order, ordered_BF)

    def _ordered(self, x_BF: Tensor) -> Tensor:
        return x_BF.float().index_select(1, self.order)

    def _split(self, x_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Tabulated features, FAN columns."""
        return x_BF[:, : self.tabulated], x_BF[:, self.tabulated :]

    def _weigh(self, x_BF: Tensor) -> Tensor:
        weight_BF: Tensor = self.weigh(x_BF).softmax(dim=-1)
        return weight_BF

    def _fan_sum(
        self, names: tuple[str, ...], x_Bf: Tensor, weight_Bf: Tensor, *channels: Tensor
    ) -> Tensor:
        """Σ over the FAN columns of weight · network(x, channels): [B, H]."""
        added = [
            (self.added[name](), c_Bfc.permute(1, 2, 0).contiguous())
            for name, c_Bfc in zip(names, channels, strict=True)
        ]
        value_fHB: Tensor = self.fan_networks(x_Bf.T.contiguous(), added)
        return (value_fHB * weight_Bf.T.unsqueeze(1)).sum(0).T

    def _chunked(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """`function` over chunks of tokens; its intermediates are not kept but recomputed."""
        chunks = zip(*(torch.split(t, self.chunk_tokens) for t in inputs), strict=True)
        if torch.is_grad_enabled() and len(inputs[0]) > self.chunk_tokens:
            return torch.cat([checkpoint(function, *c, use_reentrant=False) for c in chunks])
        return torch.cat([function(*c) for c in chunks])


def _normalise(x_FHB: Tensor) -> Tensor:
    """Layer norm over H, without gain and bias."""
    centred_FHB = x_FHB - x_FHB.mean(dim=1, keepdim=True)
    variance_F1B = centred_FHB.square().mean(dim=1, keepdim=True)
    return centred_FHB * (variance_F1B + NORM_EPSILON).rsqrt()


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def _tokens(alive_NT: Tensor) -> Tensor:
    """Positions of the tokens to compute, int64."""
    if alive_NT.device.type == "cpu":
        return alive_NT.flatten().nonzero().squeeze(1)
    return torch.arange(alive_NT.numel(), device=alive_NT.device)
