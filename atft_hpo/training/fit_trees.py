"""Fits the trees of `model.trees` with LightGBM.

    stack = fit_stack(panel, label_DNQ, train, config, seed=0)

Two kinds of trees take turns among the boosters of a horizon: ones that search their thresholds,
and extremely randomised ones that draw them (Geurts et al. 2006). Each over-fits in its own way; at
one day ahead their mean was at least as good as either (docs/recipe.md).

For each horizon a booster of each kind per block of days learns from all other days; the number of
rounds after which their mean daily IC on the days they have not seen is best holds for all boosters
of the kind. (Squared error would stop within some twenty rounds on such noise, long before the
order of the stocks is as good as it gets.) Deterministic under a seed and a number of threads,
which is torch's. Bins are shared by all fits, so memory is about one byte per feature and live
cell.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.model_schema import TreesConfig
from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import DataError
from atft_hpo.evaluation.series import Floats, daily_correlation
from atft_hpo.model.forest import Forest, Stack, Table, float32, lightgbm, live_rows
from atft_hpo.training.loss.balance import recency

MAX_LEAF_SHARE = 0.005
"""A leaf needs no more than this share of the samples: a small panel could not fill larger ones."""
MIN_DAYS = 20
"""Days that the trees of a block learn from at least."""
KINDS = 2
"""Trees that search their thresholds (even bags), and trees that draw them (odd ones)."""
_BIN_SAMPLES = 100_000
"""Live cells that the bins are drawn from."""
_STEP = 5
"""Rounds between two measurements."""

OnRound = Callable[[], None]


def fit_stack(
    panel: Panel,
    label_DNQ: Table,
    train: range,
    config: TreesConfig,
    *,
    seed: int,
    half_life_days: int | None = None,
    on_round: OnRound = lambda: None,
) -> Stack:
    """Fit trees on the live cells of `train` that have a label.

    Args:
        label_DNQ: the loss's labels of all days of the panel, NaN where missing.
        half_life_days: as `loss.half_life_days`.
        on_round: called before each tree; what it raises ends the fit.

    Raises:
        DataError: too few days for so many blocks, or no label of a horizon in one of the parts.
    """
    horizons, delay = panel.manifest.horizons_days, panel.manifest.delay_days
    gap = max(horizons) + delay
    blocks = _blocks(train, config.blocks, gap)
    fit = _Fit(panel, label_DNQ, train, recency(train, half_life_days), config, seed, on_round)
    day_R = fit.cells.day_R
    outside = [(day_R < days.start - gap) | (day_R >= days.stop + gap) for days in blocks]
    all_R = np.ones(len(day_R), dtype=np.bool_)
    whole_Q, parts_Q = [], []
    for q in range(len(horizons)):
        # One of each kind per block: what the net learns beside must be honest, not precise.
        most = [config.rounds] * min(KINDS, config.bags)
        parts = [fit.boosters(q, seen_R, most) for seen_R in outside]
        rounds = [fit.best_rounds(q, blocks, list(kind)) for kind in zip(*parts, strict=True)]
        parts_Q.append([_texts(part, rounds) for part in parts])
        bags = [rounds[bag % KINDS] for bag in range(config.bags)]
        whole_Q.append(_texts(fit.boosters(q, all_R, bags), bags))
    of_blocks = (Forest(texts_Q) for texts_Q in zip(*parts_Q, strict=True))
    return Stack(Forest(tuple(whole_Q)), tuple(zip(blocks, of_blocks, strict=True)))


class _Fit:
    """The binned cells of a train range, and what is learned from parts of them."""

    def __init__(
        self, panel: Panel, label_DNQ: Table, train: range, weight_D: Floats,
        config: TreesConfig, seed: int, on_round: OnRound,
    ) -> None:  # fmt: skip
        self._panel, self._config, self._seed, self._on_round = panel, config, seed, on_round
        self.cells = live_cells(panel, train)
        self._weight_R = weight_D[self.cells.day_R - train.start]
        self._label_DNQ = label_DNQ
        days = slice(train.start, train.stop)
        self._label_RQ = label_DNQ[days][panel.alive[days]]
        none_R = np.zeros(len(self.cells), dtype=np.float32)
        self._data = lightgbm().Dataset(self.cells, none_R, params=self._parameters(0)).construct()

    def boosters(self, q: int, seen_R: NDArray[np.bool_], rounds: Sequence[int]) -> list[Any]:
        """One after another, as many as `rounds` has numbers; of these rows and horizon `q`."""
        used_R = np.flatnonzero(seen_R & np.isfinite(self._label_RQ[:, q]))
        if not len(used_R):
            raise DataError(
                f"no label of horizon {self._panel.manifest.horizons_days[q]} in a part of the "
                "train range; set model.trees.rounds = 0, or give more days"
            )
        part = self._data.subset(used_R.tolist()).construct()
        part.set_label(self._label_RQ[used_R, q])
        part.set_weight(self._weight_R[used_R])
        hear = [_before_each_round(self._on_round)]
        return [
            lightgbm().train(self._parameters(bag), part, count, callbacks=hear)
            for bag, count in enumerate(rounds)
        ]

    def best_rounds(self, q: int, blocks: list[range], parts: list[Any]) -> int:
        """Rounds with the best mean daily IC of each block's booster on the block's own days."""
        stops = [*range(_STEP, self._config.rounds, _STEP), self._config.rounds]
        ic_DK = np.concatenate(
            [self._daily_ic(q, days, part, stops) for days, part in zip(blocks, parts, strict=True)]
        )
        scored_DK = ic_DK[np.isfinite(ic_DK).all(axis=1)]
        if not len(scored_DK):
            raise DataError(
                f"no day of the train range has two labels of horizon number {q} that differ; set "
                "model.trees.rounds = 0, or give more stocks"
            )
        return int(stops[scored_DK.mean(axis=0).argmax()])

    def _daily_ic(self, q: int, days: range, booster: Any, stops: list[int]) -> Floats:
        """[D, K] correlation with the label after so many rounds; NaN where one is constant."""
        label_DN = self._label_DNQ[days.start : days.stop, :, q].astype(np.float64)
        ic_DK = np.full((len(days), len(stops)), np.nan)
        for part, alive_DN, x_RF in live_rows(self._panel, days):
            known_DN = alive_DN & np.isfinite(label_DN[part])
            for k, score_R in enumerate(_staged(booster, x_RF, stops)):
                score_DN = np.zeros(alive_DN.shape)
                score_DN[alive_DN] = score_R
                ic_DK[part, k] = daily_correlation(score_DN, label_DN[part], known_DN)
        return ic_DK

    def _parameters(self, bag: int) -> dict[str, Any]:
        config, samples = self._config, len(self.cells)
        leaf = min(config.min_leaf_samples, int(samples * MAX_LEAF_SHARE))
        return {
            "objective": "l2",
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": max(20, leaf),
            "extra_trees": bag % KINDS == 1,
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


def _texts(boosters: Sequence[Any], rounds: Sequence[int]) -> tuple[str, ...]:
    pairs = zip(boosters, rounds, strict=True)
    return tuple(booster.model_to_string(num_iteration=count) for booster, count in pairs)


def _staged(booster: Any, x_RF: NDArray[Any], stops: list[int]) -> Iterator[Floats]:
    """Forecasts [R] after the first `stops` rounds, one after another."""
    score_R = np.zeros(len(x_RF))
    for begin, stop in itertools.pairwise([0, *stops]):
        score_R = score_R + booster.predict(
            x_RF,
            start_iteration=begin,
            num_iteration=stop - begin,
            num_threads=torch.get_num_threads(),
        )
        yield score_R


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
