"""The market of the planted benchmark: studies/planted.toml in another size."""

from pathlib import Path

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import load_config, with_values

STUDY = Path(__file__).parents[2] / "studies" / "planted.toml"


def market_config(stocks: int | None, days: int | None, seed: int | None) -> Config:
    """The study's configuration with another size or seed of its market."""
    wanted = {"stocks": stocks, "days": days, "seed": seed}
    values = {f"data.synthetic.{k}": v for k, v in wanted.items() if v is not None}
    return with_values(load_config(STUDY), values)
