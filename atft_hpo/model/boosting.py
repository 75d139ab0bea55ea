"""Fits the trees of `model.trees` with LightGBM.

    stack = fit_stack(panel, label_DNQ, train, config, seed=0)

For each horizon a booster per block of days learns from all other days; the number of rounds after
which their mean daily IC on the days they have not seen is best holds for all boosters of the
horizon. (Squared error would stop within some twenty rounds on such noise, long before the order of
the stocks is as good as it gets.) Deterministic under a seed and a number of threads, which is
torch's. Bins are shared by all fits, so memory is about one byte per feature and live cell.
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
from atft_hpo.model.trees import CHUNK_DAYS, Forest, Stack, Table, float32, lightgbm

MAX_LEAF_SHARE = 0.005
"""A leaf needs no more than this share of the samples: a small panel could not fill larger ones."""
MIN_DAYS = 20
"""Days that the trees of a block learn from at least."""
_BIN_SAMPLES = 100_000
"""Live cells that the bins are drawn from."""

_STEP = 5
"""Rounds between two measurements."""

OnRound = Callable[[], None]
Floats = NDArray[np.float64]


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
    fit = _Fit(panel, label_DNQ, train, config, seed, on_round)
    day_R = fit.cells.day_R
    outside = [(day_R < days.start - gap) | (day_R >= days.stop + gap) for days in blocks]
    whole_Q, parts_Q = [], []
    for q in range(len(horizons)):
        # One booster per block: what the net learns beside must be honest, it need not be precise.
        parts = [fit.booster(q, seen_R, config.rounds) for seen_R in outside]
        rounds = fit.best_rounds(q, blocks, parts)
        parts_Q.append([part.model_to_string(num_iteration=rounds) for part in parts])
        everything = np.ones(len(day_R), dtype=np.bool_)
        bags = [fit.booster(q, everything, rounds, bag) for bag in range(config.bags)]
        whole_Q.append(tuple(bag.model_to_string() for bag in bags))
    of_blocks = (Forest(tuple((text,) for text in texts)) for texts in zip(*parts_Q, strict=True))
    return Stack(Forest(tuple(whole_Q)), tuple(zip(blocks, of_blocks, strict=True)))


class _Fit:
    """The binned cells of a train range, and what is learned from parts of them."""

    def __init__(
        self, panel: Panel, label_DNQ: Table, train: range, config: TreesConfig, seed: int,
        on_round: OnRound,
    ) -> None:  # fmt: skip
        self._panel, self._config, self._seed, self._on_round = panel, config, seed, on_round
        self.cells = live_cells(panel, train)
        alive_DN = panel.alive[train.start : train.stop]
        self._label_RQ = label_DNQ[train.start : train.stop][alive_DN]
        none_R = np.zeros(len(self.cells), dtype=np.float32)
        self._data = lightgbm().Dataset(self.cells, none_R, params=self._parameters(0)).construct()

    def booster(self, q: int, seen_R: NDArray[np.bool_], rounds: int, bag: int = 0) -> Any:
        """Trees that have seen these rows' labels of horizon number `q`."""
        used_R = np.flatnonzero(seen_R & np.isfinite(self._label_RQ[:, q]))
        if not len(used_R):
            raise DataError(
                f"no label of horizon {self._panel.manifest.horizons_days[q]} in a part of the "
                "train range; set model.trees.rounds = 0, or give more days"
            )
        part = self._data.subset(used_R.tolist()).construct()
        part.set_label(self._label_RQ[used_R, q])
        hear = _before_each_round(self._on_round)
        return lightgbm().train(self._parameters(bag), part, rounds, callbacks=[hear])

    def best_rounds(self, q: int, blocks: list[range], parts: list[Any]) -> int:
        """Rounds with the best mean daily IC of each block's booster on the block's own days."""
        stops = [*range(_STEP, self._config.rounds, _STEP), self._config.rounds]
        ic_DK = np.concatenate(
            [self._daily_ic(q, days, part, stops) for days, part in zip(blocks, parts, strict=True)]
        )
        if not len(ic_DK):
            raise DataError(
                f"no day of the train range has two labels of horizon number {q} that differ; set "
                "model.trees.rounds = 0, or give more stocks"
            )
        return int(stops[ic_DK.mean(axis=0).argmax()])

    def _daily_ic(self, q: int, days: range, booster: Any, stops: list[int]) -> Floats:
        """[days with an IC, stops] correlation with the label after so many rounds."""
        day_R = self.cells.day_R
        none = np.empty((0, len(stops)))
        ic = [none]
        for first in range(days.start, days.stop, CHUNK_DAYS):
            ends = range(first, min(first + CHUNK_DAYS, days.stop) + 1)
            rows = np.searchsorted(day_R, list(ends))
            if rows[0] == rows[-1]:
                continue
            score_RK = _staged(booster, self.cells[rows[0] : rows[-1]], stops)
            label_R = self._label_RQ[rows[0] : rows[-1], q]
            for begin, stop in itertools.pairwise(rows - rows[0]):
                ic.append(_correlation(score_RK[begin:stop], label_R[begin:stop]))
        return np.concatenate(ic)

    def _parameters(self, bag: int) -> dict[str, Any]:
        config, samples = self._config, len(self.cells)
        leaf = min(config.min_leaf_samples, int(samples * MAX_LEAF_SHARE))
        return {
            "objective": "l2",
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": max(20, leaf),
            "lambda_l2": config.l2,
            "feature_fraction": config.feature_share,
            "bagging_fraction": config.sample_share,
            "bagging_freq": 1,
            "max_bin": 127,
            "bin_construct_sample_cnt": _BIN_SAMPLES,
            "seed": self._seed * config.bags + bag,
            "num_threads": torch.get_num_threads(),
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }


def _staged(booster: Any, x_RF: NDArray[Any], stops: list[int]) -> Floats:
    """[R, K] forecasts after the first `stops` rounds."""
    threads = torch.get_num_threads()
    pieces = [
        booster.predict(
            x_RF, start_iteration=begin, num_iteration=stop - begin, num_threads=threads
        )
        for begin, stop in itertools.pairwise([0, *stops])
    ]
    return np.cumsum(np.stack(pieces, axis=1), axis=1)


def _correlation(score_RK: Floats, label_R: Table) -> Floats:
    """[1, K] Pearson of one day; [0, K] where the label or a score does not vary."""
    known_R = np.isfinite(label_R)
    if known_R.sum() < 2:
        return score_RK[:0]
    score_RK = score_RK[known_R] - score_RK[known_R].mean(axis=0)
    centred_R = label_R[known_R] - label_R[known_R].mean()
    size_K = np.linalg.norm(score_RK, axis=0) * np.linalg.norm(centred_R)
    if not size_K.all():
        return score_RK[:0]
    return np.asarray(centred_R @ score_RK / size_K)[None]


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
    longest = max(len(days) for days in blocks)
    if (left := len(train) - longest - 2 * gap) < MIN_DAYS:
        raise DataError(
            f"the train range has {len(train)} days; without a block of {longest}, and {gap} days "
            f"of labels on either side, {max(left, 0)} are left to learn from, not {MIN_DAYS}; "
            "set model.trees.rounds = 0, or give shorter horizons or more days"
        )
    return blocks


def _before_each_round(on_round: OnRound) -> Callable[[Any], None]:
    def callback(_: Any) -> None:
        on_round()

    callback.before_iteration = True  # type: ignore[attr-defined]
    return callback
