"""Labels of the loss: the day's ranks of returns, or of what sectors and styles leave of them."""

import numpy as np
from numpy.typing import NDArray

from atft_hpo.config.training_schema import LossConfig
from atft_hpo.data.array_statistics.ranks import uniform_ranks
from atft_hpo.data.neutralization.pure import pure_labels
from atft_hpo.data.neutralization.styles import style_ranks
from atft_hpo.data.store.panel import Panel


def loss_labels(
    panel: Panel, return_DNQ: NDArray[np.float32], config: LossConfig
) -> NDArray[np.float32]:
    """[D, N, Q] labels of the loss, see `LossConfig.label`."""
    if config.label == "pure":
        styles_DNK = style_ranks(panel)
        return_DNQ = pure_labels(return_DNQ, panel.alive, panel.sector, styles_DNK)
    return ranked_labels(return_DNQ, panel.alive)


def ranked_labels(
    targets_DNQ: NDArray[np.float32], alive_DN: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """[D, N, Q] uniform ranks per day over live stocks with a label: mean 0, variance 1.

    NaN where the stock is not alive or has no label.
    """
    out_DNQ = np.empty_like(targets_DNQ)
    for q in range(targets_DNQ.shape[-1]):
        out_DNQ[..., q] = uniform_ranks(np.where(alive_DN, targets_DNQ[..., q], np.float32(np.nan)))
    return out_DNQ
