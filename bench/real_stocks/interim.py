import math
from typing import NamedTuple


class D(NamedTuple):
    mean: float
    standard_error: float
    t: float
    low: float
    high: float


def paired_difference(a, b, lag):
    from atft_hpo.training.metrics import newey_west_t

    d = a - b
    t = newey_west_t(d, lag)
    se = d.mean() / t if t else math.nan
    return D(d.mean(), se, t, d.mean() - 1.96 * se, d.mean() + 1.96 * se)
