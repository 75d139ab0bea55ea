"""Gradient-boosted trees that forecast first; the net corrects them (stacking, Wolpert 1992).

    stack = fit_stack(panel, label_DNQ, train, config, seed=0)     # training.fit_trees
    stack.cross_fitted(panel)                # what the net learns beside: trees of other days
    stack.forest.forecast(panel, days)       # what it corrects on any later day: [D, N, Q]

Trees see each (stock, day) by itself, with the panel's features and the loss's labels; time and
neighbours are the net's. In their own training range they are far too sure of themselves. So the
net is trained beside forecasts of trees that have not seen the day: the range is cut into blocks,
each forecast by trees of all others but for the days whose labels reach into it.

LightGBM is imported when it is first needed: it takes a second, and a library of the system's.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atft_hpo.data.store.panel import Panel
from atft_hpo.errors import ConfigError

_CHUNK_DAYS = 60
"""Days read at a time."""

Table = NDArray[np.float32]


@functools.cache
def lightgbm() -> ModuleType:
    """The package.

    Raises:
        ConfigError: the system lacks the OpenMP library that it loads.
    """
    try:
        import lightgbm as package
    except OSError as error:
        raise ConfigError(
            f"LightGBM cannot be loaded ({error}); install the OpenMP library (Debian: libgomp1), "
            "or set model.trees.rounds = 0"
        ) from error
    return package


@dataclass(frozen=True)
class Forest:
    """Boosters of all horizons."""

    bags_Q: tuple[tuple[str, ...], ...]
    """Per horizon the boosters whose mean is the forecast, in LightGBM's text format."""

    def opened(self) -> "OpenForest":
        """Its boosters, read once for many forecasts."""
        load = lightgbm().Booster
        return OpenForest([[load(model_str=text) for text in bags] for bags in self.bags_Q])

    def forecast(self, panel: Panel, days: range) -> Table:
        """[D, N, Q] in units of the label, 0 where a stock is dead."""
        boosters = self.opened()
        shape = (len(days), panel.alive.shape[1], len(self.bags_Q))
        table_DNQ = np.zeros(shape, dtype=np.float32)
        for part, alive_DN, x_RF in live_rows(panel, days):
            table_DNQ[part][alive_DN] = boosters.rows(x_RF)
        return table_DNQ

    def content(self) -> list[list[str]]:
        """Plain values, for a checkpoint."""
        return [list(bags) for bags in self.bags_Q]

    @classmethod
    def from_content(cls, content: list[list[str]]) -> "Forest":
        """What `content` gave."""
        return cls(tuple(tuple(bags) for bags in content))


class OpenForest:
    """A forest that forecasts rows of features, wherever they come from."""

    def __init__(self, boosters_Q: list[list[Any]]) -> None:
        self._boosters_Q = boosters_Q

    def rows(self, x_RF: NDArray[np.float32]) -> Table:
        """[R, Q] in units of the label: the mean of each horizon's boosters."""
        threads = torch.get_num_threads()
        table_RQ = np.empty((len(x_RF), len(self._boosters_Q)), dtype=np.float32)
        for q, boosters in enumerate(self._boosters_Q):
            bags = [booster.predict(x_RF, num_threads=threads) for booster in boosters]
            table_RQ[:, q] = np.mean(bags, axis=0)
        return table_RQ

    def gain(self) -> NDArray[np.float64]:
        """[F] each feature's share of what all splits together gain; sums to 1, or is all 0."""
        boosters = [booster for bags in self._boosters_Q for booster in bags]
        gain_BF = np.stack([booster.feature_importance("gain") for booster in boosters])
        total_B1 = gain_BF.sum(axis=1, keepdims=True)
        share_BF = gain_BF / np.where(total_B1 > 0, total_B1, 1.0)
        return np.asarray(share_BF.mean(axis=0))


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
        blocks = [[days.start, days.stop, forest.content()] for days, forest in self.blocks]
        return {"forest": self.forest.content(), "blocks": blocks}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> "Stack":
        """What `content` gave."""
        blocks = (
            (range(first, stop), Forest.from_content(forest))
            for first, stop, forest in content["blocks"]
        )
        return cls(Forest.from_content(content["forest"]), tuple(blocks))


def live_rows(
    panel: Panel, days: range
) -> Iterator[tuple[slice, NDArray[np.bool_], NDArray[np.float32]]]:
    """Features of the live cells, a stretch of days at a time: place within `days`, alive, rows."""
    for first in range(0, len(days), _CHUNK_DAYS):
        part = days[first : first + _CHUNK_DAYS]
        alive_DN = np.asarray(panel.alive[part.start : part.stop])
        if alive_DN.any():
            x_RF = float32(panel, panel.features[part.start : part.stop][alive_DN])
            yield slice(first, first + len(part)), alive_DN, x_RF


def float32(panel: Panel, bits: NDArray[Any]) -> NDArray[np.float32]:
    """Values of stored features."""
    values = torch.from_numpy(np.ascontiguousarray(bits))
    if panel.manifest.dtype == "bfloat16":
        values = values.view(torch.bfloat16)
    return np.asarray(values.float().numpy())
