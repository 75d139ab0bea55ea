"""The trunk over time: LSTM, static enrichment, causal interpretable attention, feed-forward.

    lstm_NTH = Recurrence(...)(selected_NTH, heard_NTH)
    enriched_NTH = StaticEnrichment(...)(lstm_NTH, code_NTH, sector_NT)
    attended_NSH = BandAttention(...)(enriched_NTH, code_NTH, present_NT, context)
    state_NSH = FeedForward(...)(attended_NSH, lstm_NTH[:, context:])

Every module is causal and treats each stock alone; from the attention on, only the S slice days
are computed. Sources: Lim et al. 2021 §4.3–4.5; Perez et al. 2018 (FiLM). T = C + S days.
"""

import torch
from torch import Tensor, nn

from atft_hpo.model.layers import GatedResidualNetwork, GatedSkip

MEMORY_DAYS = (2.5, 5.0, 10.0, 20.0, 40.0)
"""Mean lags of the exponential memories in the lag kernel's basis."""
MEANING_SPREAD = 0.5
"""Standard deviation between sectors of the code's weights at the start."""
BLOCK_DAYS = 16
"""Query days per score matrix, so that memory grows with T × L and not with T²."""


class Recurrence(nn.Module):
    """LSTM over the days of each stock with a gated skip around it.

    The LSTM hears of no FAN column: their course in time is FAN's and SAN's to tell (their channels
    look back over the whole lookback), and their cycles would fill its states. They join at the
    skip.
    """

    def __init__(self, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        # Not layers of one LSTM: between those cuDNN drops by a generator of its own, which draws
        # otherwise when a chunk is computed again.
        self.above = nn.ModuleList(
            nn.LSTM(hidden, hidden, batch_first=True) for _ in range(layers - 1)
        )
        self.between = nn.Dropout(dropout)
        self.gate = GatedSkip(hidden, dropout)

    def forward(self, selected_NTH: Tensor, heard_NTH: Tensor) -> Tensor:
        """float32 [N, T, H] twice → float32 [N, T, H]."""
        # Many CPUs have no LSTM in bf16, and on a GPU autocast would run it in float16 whatever its
        # type is, where gradients without a loss scale vanish.
        with torch.autocast(heard_NTH.device.type, enabled=False):
            states_NTH, _ = self.lstm(heard_NTH)
            for lstm in self.above:
                states_NTH, _ = lstm(self.between(states_NTH))
        out: Tensor = self.gate(states_NTH, selected_NTH)
        return out


class StaticEnrichment(nn.Module):
    """FiLM from the sector (γ starts at 1, β at 0), then a gated residual network.

    FiLM turns what the state already holds. What the features mean in one sector and not on average
    the state has dropped before FiLM could learn of it, so a linear code of the features, weighed
    per sector, joins it. `static = False` leaves the sector out, and keeps the network.
    """

    def __init__(self, hidden: int, sectors: int, dropout: float, static: bool = True) -> None:
        super().__init__()
        self.network = GatedResidualNetwork(hidden, hidden, hidden, dropout)
        self.static = static
        if static:
            self.embedding = nn.Embedding(sectors, hidden)
            self.film = nn.Linear(hidden, 2 * hidden)
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)
            self.meaning = nn.Embedding(sectors, hidden)
            nn.init.normal_(self.meaning.weight, std=MEANING_SPREAD)

    def forward(self, x_NTH: Tensor, code_NTH: Tensor, sector_NT: Tensor) -> Tensor:
        """float32 [N, T, H] twice and int64 [N, T], or [N, 1] for all days → float32 [N, T, H]."""
        if not self.static:
            plain: Tensor = self.network(x_NTH)
            return plain
        film_NTHx2 = self.film(self.embedding(sector_NT)).float()
        scale, shift = film_NTHx2.chunk(2, dim=-1)
        meant_NTH = code_NTH * self.meaning(sector_NT)
        out: Tensor = self.network(x_NTH * (1.0 + scale) + shift + meant_NTH)
        return out


class BandAttention(nn.Module):
    """Interpretable multi-head attention over the last L days, with a signed kernel over lags.

    The heads share their values (Lim et al. 2021, §4.4), so their mean is one matrix. A softmax
    cannot express "minus the value seven days ago": the lag kernel κ [H, L], which starts at zero,
    adds Σ_l κ[h, l] · code[t − l, h], a plain linear code of the features: variable selection has
    dropped what says nothing today. κ is learned in a basis of single days, exponential memories
    and the mean of all lags: a memory of forty days is forty small weights of which none stands
    out of the noise by itself, but one large weight of a memory. Keys of dead days are left out; a
    day always sees itself, so that no softmax is empty.
    """

    basis: Tensor

    def __init__(self, hidden: int, heads: int, lookback: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.lookback = heads, lookback
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)
        self.lag_out = nn.Linear(hidden, hidden)
        self.register_buffer("basis", _lag_basis(lookback), persistent=False)
        self.lag_kernel = nn.Parameter(torch.zeros(hidden, len(self.basis)))
        self.by_head = nn.Identity()  # where `inspection` watches the weights of each block
        self.dropout = nn.Dropout(dropout)
        self.gate = GatedSkip(hidden, dropout)

    def forward(self, x_NTH: Tensor, code_NTH: Tensor, present_NT: Tensor, context: int) -> Tensor:
        """float32 [N, T, H] twice, bool [N, T] → float32 [N, S, H], the days from `context` on."""
        days = x_NTH.shape[1]
        key_NTH = self.key(x_NTH)
        value_NTH = self.value(x_NTH) * present_NT.unsqueeze(-1)
        lagged_NTH = code_NTH * present_NT.unsqueeze(-1)
        blocks = []
        for start in range(context, days, BLOCK_DAYS):
            queries = slice(start, min(start + BLOCK_DAYS, days))
            keys = slice(max(0, start - self.lookback + 1), queries.stop)
            lag_ST = _lags(queries, keys, x_NTH.device)
            past = (key_NTH[:, keys], value_NTH[:, keys], present_NT[:, keys])
            attended_NSH = self._attend(x_NTH[:, queries], *past, lag_ST)
            blocks.append(attended_NSH + self._remember(lagged_NTH[:, keys], lag_ST))
        out: Tensor = self.gate(self.out(torch.cat(blocks, dim=1)), x_NTH[:, context:])
        return out

    def _attend(
        self, x_NSH: Tensor, key_NTH: Tensor, value_NTH: Tensor, present_NT: Tensor, lag_ST: Tensor
    ) -> Tensor:
        """One block: [N, S, H] queries against [N, T, H] keys and values → [N, S, H]."""
        query_NASd = self._split(self.query(x_NSH))
        key_NATd = self._split(key_NTH)
        score_NAST = (query_NASd @ key_NATd.mT).float() * query_NASd.shape[-1] ** -0.5
        in_band_ST = (lag_ST >= 0) & (lag_ST < self.lookback)
        allowed_NST = in_band_ST & (present_NT.unsqueeze(1) | (lag_ST == 0))
        score_NAST = score_NAST.masked_fill(~allowed_NST.unsqueeze(1), -torch.inf)
        weight_NAST = self.by_head(score_NAST.softmax(dim=-1))
        weight_NST: Tensor = self.dropout(weight_NAST.mean(dim=1))
        return weight_NST @ value_NTH.float()

    def _remember(self, lagged_NTH: Tensor, lag_ST: Tensor) -> Tensor:
        """One block of the signed kernel: [N, T, H] → [N, S, H]."""
        in_band_ST = (lag_ST >= 0) & (lag_ST < self.lookback)
        kernel_HST = self.kernel()[:, lag_ST.clamp(0, self.lookback - 1)] * in_band_ST
        summed_HSN = kernel_HST @ lagged_NTH.float().permute(2, 1, 0)
        out: Tensor = self.lag_out(summed_HSN.permute(2, 1, 0))
        return out

    def kernel(self) -> Tensor:
        """κ, float32 [H, L]: what each value channel adds of each lag."""
        with torch.autocast(self.basis.device.type, enabled=False):
            out: Tensor = self.lag_kernel.float() @ self.basis
        return out

    def _split(self, x_NTH: Tensor) -> Tensor:
        """[N, T, H] → [N, A, T, H/A]."""
        return torch.unflatten(x_NTH, -1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Gated residual network with a gated skip from the LSTM's output (Lim et al. 2021, §4.5)."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.network = GatedResidualNetwork(hidden, hidden, hidden, dropout)
        self.gate = GatedSkip(hidden, dropout)

    def forward(self, x_NSH: Tensor, skip_NSH: Tensor) -> Tensor:
        """float32 [N, S, H] twice → float32 [N, S, H]."""
        out: Tensor = self.gate(self.network(x_NSH), skip_NSH)
        return out


def _lag_basis(lookback: int) -> Tensor:
    """[B, L]: single days, exponential memories by mean lag, the mean of all; rows of unit norm."""
    lag_L = torch.arange(lookback, dtype=torch.float64)
    decays = [days / (1.0 + days) for days in MEMORY_DAYS]
    memories = [decay**lag_L for decay in decays] + [torch.ones_like(lag_L)]
    rows = torch.cat([torch.eye(lookback, dtype=torch.float64), torch.stack(memories)])
    return torch.nn.functional.normalize(rows, dim=1).float()


def _lags(queries: slice, keys: slice, device: torch.device) -> Tensor:
    """int64 [S, T]: how many days each key lies before each query."""
    query_S = torch.arange(queries.start, queries.stop, device=device)
    key_T = torch.arange(keys.start, keys.stop, device=device)
    return query_S.unsqueeze(1) - key_T
