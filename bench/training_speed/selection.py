"""How fast is variable selection against the plain form, and how far is its interpolation off?

    python -m bench.training_speed.selection [--features 250] [--fan-columns 25] [--hidden 16]
                                    [--tokens 4096] [--threads 1] [--json FILE]

Tokens (live stock-days) per second, forward and backward, all networks and both channel sets on:

    plain        every network as grouped matrix products under autograd, recomputed in the
                 backward pass, 1,024 tokens at a time
    ours         networks of one number interpolated between knots, the FAN columns' fused
    frozen       ours, forward only

and, of the interpolation, the distance to the networks it stands for (rms over N(0, 1) inputs) as a
share of their spread, at initialisation and with weights three times as large. Both forms run in
this process, in turns; the best of the repeats counts. Ours takes the FAN and SAN channels too, the
plain form does not.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from atft_hpo.model.kernels.grouped import FeatureNetworks
from atft_hpo.model.kernels.tabulated import KNOTS, interpolated_sum
from atft_hpo.model.normalization import FAN_CHANNELS, SAN_CHANNELS
from atft_hpo.model.selection import VariableSelection
from atft_hpo.training.run.memory import keep_freed_memory

CHUNK_TOKENS = 1024
REPEATS = 4


def main() -> None:
    arguments = _arguments()
    keep_freed_memory()  # as a trial's process does
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rates = measure(arguments)
    errors = {scale: interpolation_error(arguments.hidden, scale) for scale in (1.0, 3.0)}
    for name, rate in rates.items():
        print(f"{name:8s} {rate:10,.0f} tokens/s")
    print(f"ours / plain: {rates['ours'] / rates['plain']:.1f}")
    for scale, error in errors.items():
        print(f"interpolation, weights × {scale:.0f}: {error:.2%} of the spread")
    if arguments.json:
        results = {"arguments": _jsonable(arguments), "tokens_per_second": rates}
        results["interpolation_error"] = {f"{scale:.0f}": e for scale, e in errors.items()}
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Tokens per second by form."""
    features, hidden, tokens = arguments.features, arguments.hidden, arguments.tokens
    columns = tuple(range(arguments.fan_columns))
    added = {"fan": len(FAN_CHANNELS), "san": len(SAN_CHANNELS)}
    ours = VariableSelection(features, columns, hidden, 0.1, added)
    plain = FeatureNetworks(features, hidden)
    x_NTF = torch.randn(1, tokens, features)
    present_NT = torch.ones(1, tokens, dtype=torch.bool)
    channels = {
        "fan": torch.randn(1, tokens, len(columns), len(FAN_CHANNELS)),
        "san": torch.randn(1, tokens, len(columns), len(SAN_CHANNELS)),
    }

    def run_plain() -> None:
        chunks = x_NTF[0].split(CHUNK_TOKENS)
        parts = [checkpoint(_plain_sum, ours, plain, x, use_reentrant=False) for x in chunks]
        torch.cat(parts).square().sum().backward()

    def run_ours() -> None:
        ours(x_NTF, present_NT, channels, ours.table())[0].square().sum().backward()

    def run_frozen() -> None:
        with torch.no_grad():
            ours(x_NTF, present_NT, channels, ours.table())

    forms = {"plain": run_plain, "ours": run_ours, "frozen": run_frozen}
    best = dict.fromkeys(forms, float("inf"))
    for _ in range(REPEATS):
        for name, form in forms.items():
            best[name] = min(best[name], _seconds(form))
    return {name: tokens / seconds for name, seconds in best.items()}


def _plain_sum(selection: VariableSelection, networks: FeatureNetworks, x_BF: Tensor) -> Tensor:
    weight_BF = selection.dropout(selection.weights(x_BF))
    return torch.einsum("bf,fhb->bh", weight_BF, networks(x_BF.T))


@torch.no_grad()
def interpolation_error(hidden: int, scale: float, networks: int = 50, tokens: int = 1000) -> float:
    """Rms distance of the interpolated networks from the networks, as a share of their spread."""
    exact = FeatureNetworks(networks, hidden)
    for name, parameter in exact.named_parameters():
        if not name.startswith("norm"):
            parameter.mul_(scale)
    x_BF = torch.randn(tokens, networks)
    table_FMH = exact(KNOTS.expand(networks, -1)).mT
    value_FHB = exact(x_BF.T)
    one = torch.ones(tokens, 1)
    difference = torch.stack(
        [
            interpolated_sum(x_BF[:, f : f + 1], one, table_FMH[f : f + 1]).T - value_FHB[f]
            for f in range(networks)
        ]
    )
    spread = value_FHB.var(dim=2).mean().sqrt()
    return float(difference.square().mean().sqrt() / spread)


def _seconds(form: Callable[[], None]) -> float:
    start = time.perf_counter()
    form()
    return time.perf_counter() - start


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.training_speed.selection",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("--features", type=int, default=250)
    parser.add_argument("--fan-columns", type=int, default=25)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _jsonable(arguments: argparse.Namespace) -> dict[str, int]:
    return {name: value for name, value in vars(arguments).items() if name != "json"}


if __name__ == "__main__":
    main()
