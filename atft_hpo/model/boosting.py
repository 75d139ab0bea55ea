"""Fits the trees of `model.trees` with LightGBM.

    stack = fit_stack(panel, label_DNQ, train, config, seed=0)

Deterministic under a seed and a number of threads, which is torch's. Bins are shared by all fits,
so memory is about one byte per feature and live cell.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.schema import TreesConfig
from atft_hpo.data.panel import Panel
from atft_hpo.errors import DataError
from atft_hpo.model.trees import Forest, Stack, Table, float32, lightgbm

MAX_LEAF_SHARE = 0.005
"""A leaf needs no more than this share of the samples: a small panel could not fill larger ones."""
_BIN_SAMPLES = 100_000
"""Live cells that the bins are drawn from."""

OnRound = Callable[[], None]


def fit_stack(
    panel: Panel,
    label_DNQ: Table,
    train: range,
    config: TreesConfig,
    *,
    seed: int,
    on_round: OnRound = lambda: None,
) -> Stack:
    """Fit trees on the live cells of `train` that have a label.

    Args:
        label_DNQ: the loss's labels of all days of the panel, NaN where missing.
        on_round: called before each tree; what it raises ends the fit.

    Raises:
        DataError: too few days for so many blocks, or no label of a horizon in one of the parts.
    """
    horizons, delay = panel.manifest.horizons_days, panel.manifest.delay_days
    gap = max(horizons) + delay
    blocks = _blocks(train, config.blocks, gap)
    lgb = lightgbm()
    cells = live_cells(panel, train)
    data = lgb.Dataset(
        cells, np.zeros(len(cells), dtype=np.float32), params=_parameters(config, len(cells), seed)
    ).construct()
    label_RQ = label_DNQ[train.start : train.stop][panel.alive[train.start : train.stop]]

    def boosters(seen_R: NDArray[np.bool_], q: int, bags: int) -> tuple[str, ...]:
        used_R = np.flatnonzero(seen_R & np.isfinite(label_RQ[:, q]))
        if not len(used_R):
            raise DataError(
                f"no label of horizon {horizons[q]} in a part of the train range; set "
                "model.trees.rounds = 0, or give more days"
            )
        part = data.subset(used_R.tolist()).construct()
        part.set_label(label_RQ[used_R, q])
        texts = []
        for bag in range(bags):
            parameters = _parameters(config, len(cells), seed * config.bags + bag)
            hear = _before_each_round(on_round)
            booster = lgb.train(parameters, part, config.rounds, callbacks=[hear])
            texts.append(booster.model_to_string())
        return tuple(texts)

    def forest(seen_R: NDArray[np.bool_], bags: int) -> Forest:
        return Forest(tuple(boosters(seen_R, q, bags) for q in range(len(horizons))))

    outside = [
        (cells.day_R < days.start - gap) | (cells.day_R >= days.stop + gap) for days in blocks
    ]
    # One booster per block: what the net learns beside must be honest, it need not be precise.
    fitted = tuple((days, forest(seen_R, 1)) for days, seen_R in zip(blocks, outside, strict=True))
    return Stack(forest(np.ones(len(cells), dtype=np.bool_), config.bags), fitted)


def live_cells(panel: Panel, days: range) -> Any:
    """The live cells of `days` as a `lightgbm.Sequence` of rows, read a stretch at a time.

    `day_R` holds the day of each row.
    """

    class LiveCells(lightgbm().Sequence):  # type: ignore[misc]
        batch_size = 16_384

        def __init__(self) -> None:
            day_R, self._stock_R = np.nonzero(panel.alive[days.start : days.stop])
            self.day_R = day_R + days.start

        def __len__(self) -> int:
            return len(self.day_R)

        def __getitem__(self, index: Any) -> NDArray[np.float64]:
            """Row [F], or rows [R, F] of a slice or of several positions."""
            bits = panel.features[self.day_R[index], self._stock_R[index]]
            return float32(panel, bits).astype(np.float64)  # LightGBM takes nothing else here

    return LiveCells()


def _blocks(train: range, count: int, gap: int) -> list[range]:
    cuts = np.linspace(train.start, train.stop, count + 1).astype(int).tolist()
    blocks = [range(first, stop) for first, stop in itertools.pairwise(cuts)]
    if len(train) < 2 * count * gap:
        raise DataError(
            f"the train range has {len(train)} days, model.trees.blocks = {count} with {gap} days "
            f"of labels across each cut need at least {2 * count * gap}; give fewer blocks, "
            "shorter horizons or more days"
        )
    return blocks


def _parameters(config: TreesConfig, samples: int, seed: int) -> dict[str, Any]:
    return {
        "objective": "l2",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": max(20, min(config.min_leaf_samples, int(samples * MAX_LEAF_SHARE))),
        "lambda_l2": config.l2,
        "feature_fraction": config.feature_share,
        "bagging_fraction": config.sample_share,
        "bagging_freq": 1,
        "max_bin": 127,
        "bin_construct_sample_cnt": _BIN_SAMPLES,
        "seed": seed,
        "num_threads": torch.get_num_threads(),
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }


def _before_each_round(on_round: OnRound) -> Callable[[Any], None]:
    def callback(_: Any) -> None:
        on_round()

    callback.before_iteration = True  # type: ignore[attr-defined]
    return callback
