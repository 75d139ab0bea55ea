"""How often is a t-statistic beyond 2 although the truth is 0, and does a 90 % interval hold?

    python -m bench.mean_error [--replications 2000] [--days 448 250] [--processes NAME ...]

Per process (`processes`), number of days, horizon and estimator, over the persistence of a day's
innovation: the share of |t| > 2 and the coverage of the 90 % interval, in per cent. A normal t has
4.6 and 90. A rate of 2,000 replications has a standard error of .5 and .7. About a minute.
"""

import argparse

import numpy as np
from scipy.special import ndtri

from bench.mean_error.estimators import ESTIMATORS, Estimator
from bench.mean_error.processes import PROCESSES, Process

HORIZONS = (1, 5, 10, 20)
PERSISTENCE = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95)


def rates(
    process: Process, estimator: Estimator, replications: int, days: int, horizon: int, ρ: float
) -> tuple[float, float]:
    """Share of |t| > 2, coverage of the 90 % interval."""
    rng = np.random.default_rng(round(days * 1000 + horizon * 10 + ρ * 100))
    t_R = np.abs(estimator(process(rng, replications, days, horizon, ρ), horizon))
    return float(np.mean(t_R > 2.0)), float(np.mean(t_R < ndtri(0.95)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.mean_error", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument("--days", type=int, nargs="+", default=[448, 250])
    parser.add_argument("--processes", nargs="+", choices=list(PROCESSES), default=["overlapped"])
    chosen = parser.parse_args()
    head = "".join(f"{ρ:>12.2f}" for ρ in PERSISTENCE)
    print(f"{'process':20s}{'days':>5s}{'h':>4s}  {'estimator':16s}{head}")
    for name in chosen.processes:
        for days in chosen.days:
            for horizon in HORIZONS:
                for label, estimator in ESTIMATORS.items():
                    cells = ""
                    for ρ in PERSISTENCE:
                        beyond, covered = rates(
                            PROCESSES[name], estimator, chosen.replications, days, horizon, ρ
                        )
                        cells += f"{100 * beyond:6.1f} {100 * covered:5.1f}"
                    print(f"{name:20s}{days:5d}{horizon:4d}  {label:16s}{cells}", flush=True)


if __name__ == "__main__":
    main()
