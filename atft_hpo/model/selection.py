"""Variable selection: one gated residual network per feature, and a network that weighs them.

    selection = VariableSelection(features, fan_columns, hidden, dropout, added)
    selected_NTH, heard_NTH = selection(x_NTF, present_NT, channels, selection.table())

Source: Lim et al. 2021, §4.2 (equations 6–8). No loop runs over features. Networks of one number
are interpolated between knots (see `tabulated`); those of the FAN columns, which take added
channels, are grouped matrix products (see `grouped`). Dropout acts on the selection weights: a
feature is dropped for a token as a whole. On elements of [F, B, H] it would cost as much as the
networks.

A token is one (stock, day); B counts tokens, c channels. On CPU only live tokens are computed; on
CUDA all are, since gathering them would wait for the device.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from atft_hpo.model.kernels.grouped import FeatureNetworks, uniform
from atft_hpo.model.kernels.interpolation import Interpolate
from atft_hpo.model.kernels.tabulated import KNOTS, interpolated_sum
from atft_hpo.model.layers import GatedResidualNetwork


class AddedChannels(nn.Module):
    """Weights of extra inputs of the FAN columns, each times a strength that starts at zero."""

    def __init__(self, columns: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(columns, channels))
        self.weight = uniform(1.0, columns, 2 * hidden, channels)

    def forward(self) -> Tensor:
        """[F_fan, 2H, c]."""
        return self.strength.unsqueeze(1) * self.weight


class VariableSelection(nn.Module):
    """√F · Σ_f weight_f(x) · network_f(x_f) for every live token.

    √F makes the sum's variance about one while the weights are even: without it, the more features
    there are, the less the LSTM hears of them at first.
    """

    columns: Tensor
    order: Tensor
    knots: Tensor

    def __init__(
        self, features: int, fan_columns: tuple[int, ...], hidden: int, dropout: float,
        added: Mapping[str, int],
    ) -> None:  # fmt: skip
        super().__init__()
        self.hidden = hidden
        self.interpolate: Interpolate = interpolated_sum
        """The form of it that is computed; a GPU may have a faster one."""
        others = sorted(set(range(features)) - set(fan_columns))
        self.register_buffer("columns", torch.tensor(fan_columns).long(), persistent=False)
        self.register_buffer("knots", KNOTS, persistent=False)
        # Inside, the FAN columns come last, so that taking either group is a view.
        order = torch.tensor([*others, *fan_columns]).long()
        self.register_buffer("order", order, persistent=False)
        self.tabulated = len(others)
        self.weigh = GatedResidualNetwork(features, hidden, features, dropout)
        self.dropout = nn.Dropout(dropout)
        self.networks = FeatureNetworks(len(others), hidden)
        self.fan_networks = FeatureNetworks(len(fan_columns), hidden)
        sizes = added if fan_columns else {}
        self.fan_inputs = 2 + sum(sizes.values())
        """Inputs of a FAN column's network with every channel added; the first are x and 1."""
        self.added = nn.ModuleDict(
            {name: AddedChannels(len(fan_columns), size, hidden) for name, size in sizes.items()}
        )

    def table(self) -> Tensor:
        """The networks of one number at the knots, [F, M, H]: once a step, for all its tokens."""
        with torch.autocast(self.knots.device.type, enabled=False):
            value_FHM: Tensor = self.networks(self.knots.expand(self.tabulated, -1))
        return value_FHM.mT.contiguous()

    def forward(
        self, x_NTF: Tensor, present_NT: Tensor, channels: Mapping[str, Tensor], table_FMH: Tensor,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """[N, T, F], bool [N, T], {"fan" | "san": [N, T, F_fan, c]} → float32 [N, T, H] twice.

        The sum over all features, and over those that are no FAN columns (all, if there are no
        others). Dead tokens are 0. `known` are the same two from an earlier pass: they are returned
        with their gradients, and no network but the weighing one is computed before those are.
        """
        again = known is not None
        token_B = _tokens(present_NT)
        x_BF = self._ordered(x_NTF.flatten(0, 1).index_select(0, token_B))
        weight_BF = self.dropout(self._weigh(x_BF))
        x_Bo, x_Bf = x_BF.tensor_split([self.tabulated], dim=1)
        weight_Bo, weight_Bf = weight_BF.tensor_split([self.tabulated], dim=1)
        plain_BH = x_BF.new_zeros(len(x_BF), self.hidden)
        with torch.autocast(x_NTF.device.type, enabled=False):
            if self.tabulated:
                plain_BH = self.interpolate(x_Bo, weight_Bo, table_FMH, again)
            all_BH = plain_BH
            if len(self.columns):
                added = [
                    (self.added[name](), c.flatten(0, 1).index_select(0, token_B))
                    for name, c in sorted(channels.items())
                ]
                fused_BH = self.fan_networks.weighted_sum(x_Bf, weight_Bf, added, again)
                all_BH = plain_BH + fused_BH
        heard_BH = plain_BH if self.tabulated else all_BH
        selected_NTH = self._dense(all_BH, token_B, present_NT)
        heard_NTH = self._dense(heard_BH, token_B, present_NT)
        if known is None:
            return selected_NTH, heard_NTH
        return known[0] + selected_NTH, known[1] + heard_NTH  # the second ones are 0

    def weights(self, x_BF: Tensor) -> Tensor:
        """Softmax weights of features in the order given, float32 [B, F]."""
        ordered_BF = self._weigh(self._ordered(x_BF))
        return torch.empty_like(ordered_BF).index_copy(1, self.order, ordered_BF)

    def _dense(self, sum_BH: Tensor, token_B: Tensor, present_NT: Tensor) -> Tensor:
        """Tokens back in their places [N, T, H], times √F."""
        scaled_BH = sum_BH * float(len(self.order) ** 0.5)
        dense_BH = scaled_BH.new_zeros(present_NT.numel(), self.hidden)
        dense_NTH = dense_BH.index_copy(0, token_B, scaled_BH).view(*present_NT.shape, -1)
        return dense_NTH * present_NT.unsqueeze(-1)

    def _ordered(self, x_BF: Tensor) -> Tensor:
        return x_BF.float().index_select(1, self.order)

    def _weigh(self, x_BF: Tensor) -> Tensor:
        weight_BF: Tensor = self.weigh(x_BF).softmax(dim=-1)
        return weight_BF


def _tokens(present_NT: Tensor) -> Tensor:
    """Positions of the tokens to compute, int64."""
    if present_NT.device.type == "cpu":
        return present_NT.flatten().nonzero().squeeze(1)
    return torch.arange(present_NT.numel(), device=present_NT.device)
