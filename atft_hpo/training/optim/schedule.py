"""Learning rate within a phase: linear warm-up, then a cosine down to a share of the peak.

Progress, not step number, is the argument: epochs differ by a slice or two, because cuts are drawn
anew each time, and progress needs no total that is known in advance.
"""

import math


def phase_progress(epoch: int, step: int, steps: int, epochs: int) -> float:
    """Share of the phase done after step `step` (from 0) of `steps` in epoch `epoch`; in (0, 1]."""
    return (epoch + (step + 1) / steps) / epochs


def rate_factor(progress: float, warmup_share: float, final_share: float) -> float:
    """Share of the peak rate at `progress` in (0, 1].

    Rises linearly to 1 at `warmup_share`, falls as a half cosine to `final_share` at 1
    (Loshchilov & Hutter 2017, eq. 5, one period).
    """
    if progress < warmup_share:
        return progress / warmup_share
    span = 1.0 - warmup_share
    fall = (progress - warmup_share) / span if span > 0 else 0.0
    return final_share + (1.0 - final_share) * 0.5 * (1.0 + math.cos(math.pi * fall))
