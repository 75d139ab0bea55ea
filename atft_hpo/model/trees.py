"""Gradient-boosted trees that forecast first; the net corrects them (stacking, Wolpert 1992).

    stack = fit_stack(panel, label_DNQ, train, config, seed=0)
    stack.cross_fitted(panel)                # what the net learns beside: trees of other days
    stack.forest.forecast(panel, days)       # what it corrects on any later day: [D, N, Q]

Trees see each (stock, day) by itself, with the panel's features and the loss's labels; time and
neighbours are the net's. In their own training range they are far too sure of themselves. So the
net is trained beside forecasts of trees that have not seen the day: the range is cut into blocks,
each forecast by trees of all others but for the days whose labels reach into it. LightGBM
runs with as many threads as torch, and is deterministic under their number and a seed. Bins are
shared by all fits, so memory is about one byte per feature and live cell.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.config.schema import TreesConfig
from atft_hpo.data.panel import Panel
from atft_hpo.errors import DataError

MAX_LEAF_SHARE = 0.005
"""A leaf needs no more than this share of the samples: a small panel could not fill larger ones."""
_BIN_SAMPLES = 100_000
"""Live cells that the bins are drawn from."""
_CHUNK_DAYS = 60
"""Days forecast at a time."""

Table = NDArray[np.float32]
OnRound = Callable[[], None]


@dataclass(frozen=True)
class Forest:
    """Trees of all horizons."""

    text_Q: tuple[str, ...]
    """LightGBM's model format, one per horizon."""

    def forecast(self, panel: Panel, days: range) -> Table:
        """[D, N, Q] in units of the label, 0 where a stock is dead."""
        boosters = [lgb.Booster(model_str=text) for text in self.text_Q]
        table_DNQ = np.zeros((len(days), panel.alive.shape[1], len(boosters)), dtype=np.float32)
        for first in range(0, len(days), _CHUNK_DAYS):
            part = days[first : first + _CHUNK_DAYS]
            alive_DN = np.asarray(panel.alive[part.start : part.stop])
            if not alive_DN.any():
                continue
            x_RF = _rows(panel, slice(part.start, part.stop), alive_DN)
            threads = torch.get_num_threads()
            columns = [booster.predict(x_RF, num_threads=threads) for booster in boosters]
            table_DNQ[first : first + len(part)][alive_DN] = np.stack(columns, axis=1)
        return table_DNQ


@dataclass(frozen=True)
class Stack:
    """Trees of the whole train range, and those of all its blocks but one."""

    forest: Forest
    blocks: tuple[tuple[range, Forest], ...]
    """Days of a block, and trees that have not seen them."""

    def cross_fitted(self, panel: Panel) -> Iterator[tuple[range, Table]]:
        """Days of each block and their forecasts [D, N, Q]."""
        for days, forest in self.blocks:
            yield days, forest.forecast(panel, days)

    def content(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        blocks = [[days.start, days.stop, list(forest.text_Q)] for days, forest in self.blocks]
        return {"forest": list(self.forest.text_Q), "blocks": blocks}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> "Stack":
        """What `content` gave."""
        blocks = (
            (range(first, stop), Forest(tuple(texts))) for first, stop, texts in content["blocks"]
        )
        return cls(Forest(tuple(content["forest"])), tuple(blocks))


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
    cells = _LiveCells(panel, train)
    parameters = _parameters(config, len(cells), seed)
    empty_R = np.zeros(len(cells), dtype=np.float32)
    data = lgb.Dataset(cells, empty_R, params=parameters).construct()
    label_RQ = label_DNQ[train.start : train.stop][panel.alive[train.start : train.stop]]

    def forest(seen_R: NDArray[np.bool_]) -> Forest:
        texts = []
        for q, horizon in enumerate(horizons):
            used_R = np.flatnonzero(seen_R & np.isfinite(label_RQ[:, q]))
            if not len(used_R):
                raise DataError(
                    f"no label of horizon {horizon} in a part of the train range; set "
                    "model.trees.rounds = 0, or give more days"
                )
            part = data.subset(used_R.tolist(), parameters).construct()
            part.set_label(label_RQ[used_R, q])
            booster = lgb.train(
                parameters, part, config.rounds, callbacks=[_before_each_round(on_round)]
            )
            texts.append(booster.model_to_string())
        return Forest(tuple(texts))

    outside = [
        (cells.day_R < days.start - gap) | (cells.day_R >= days.stop + gap) for days in blocks
    ]
    fitted = tuple((days, forest(seen_R)) for days, seen_R in zip(blocks, outside, strict=True))
    return Stack(forest(np.ones(len(cells), dtype=np.bool_)), fitted)


class _LiveCells(lgb.Sequence):
    """The live cells of a range of days as rows, read from the map a stretch at a time."""

    batch_size = 16_384

    def __init__(self, panel: Panel, days: range) -> None:
        self._panel = panel
        day_R, self._stock_R = np.nonzero(panel.alive[days.start : days.stop])
        self.day_R = day_R + days.start

    def __len__(self) -> int:
        return len(self.day_R)

    def __getitem__(self, index: Any) -> NDArray[np.float64]:
        """Row [F], or rows [R, F] of a slice or of several positions."""
        bits = self._panel.features[self.day_R[index], self._stock_R[index]]
        return _float32(self._panel, bits).astype(np.float64)  # LightGBM takes nothing else here


def _rows(panel: Panel, days: slice, alive_DN: NDArray[np.bool_]) -> NDArray[np.float32]:
    return _float32(panel, panel.features[days][alive_DN])


def _float32(panel: Panel, bits: NDArray[Any]) -> NDArray[np.float32]:
    values = torch.from_numpy(np.ascontiguousarray(bits))
    if panel.manifest.dtype == "bfloat16":
        values = values.view(torch.bfloat16)
    return np.asarray(values.float().numpy())


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
