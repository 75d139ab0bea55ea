"""What a file of prices must be, and what becomes of the study's configuration."""

from pathlib import Path

import polars as pl
import pytest

from atft_hpo.config.toml import build_config
from atft_hpo.errors import ConfigError, DataError
from bench.real.plan import Plan
from bench.real.prices import for_panel


def changed(prices: Path, to: Path, *expressions: pl.Expr, drop: str | None = None) -> Path:
    frame = pl.read_parquet(prices).with_columns(*expressions)
    (frame.drop(drop) if drop else frame).write_parquet(to)
    return to


def test_the_only_boolean_column_is_the_universe(noise_prices, make_plan, tmp_path):
    path = changed(noise_prices, tmp_path / "p.parquet", pl.lit(True).alias("member"))
    assert make_plan(path).config.data.features.universe_column == "member"
    assert make_plan(noise_prices).config.data.features.universe_column is None


def test_of_several_boolean_columns_one_must_be_named(noise_prices, make_plan, study, tmp_path):
    flags = [pl.lit(True).alias(name) for name in ("member", "halted")]
    path = changed(noise_prices, tmp_path / "p.parquet", *flags)
    with pytest.raises(ConfigError, match="boolean columns member, halted; say which"):
        make_plan(path)
    plan = Plan.of(path, study, "1", "ridge", "quick", {}, "member", "cpu")
    assert plan.config.data.features.universe_column == "member"
    with pytest.raises(ConfigError, match="no boolean column 'membre'; did you mean 'member'"):
        Plan.of(path, study, "1", "ridge", "quick", {}, "membre", "cpu")


def test_missing_columns_and_files_are_named(noise_prices, make_plan, tmp_path):
    path = changed(noise_prices, tmp_path / "p.parquet", drop="volume")
    with pytest.raises(DataError, match="no column 'volume'"):
        make_plan(path)
    with pytest.raises(DataError, match="no such file"):
        make_plan(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        make_plan(tmp_path / "text.parquet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizons": "0"}, "trading days of 1 or more"),
        ({"horizons": "one"}, "expected trading days"),
        ({"models": "ridge,lightgmb"}, "did you mean 'lightgbm'"),
    ],
)
def test_wrong_arguments_are_refused(noise_prices, make_plan, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(noise_prices, **arguments)


def test_the_one_day_horizon_is_always_in_the_panel_for_the_portfolio(noise_prices, make_plan):
    plan = make_plan(noise_prices, horizons="5")
    assert plan.config.data.horizons_days == (1, 5)
    assert plan.horizons == (5,)


def test_horizon_weights_follow_their_horizon_and_nothing_is_chosen_on_the_forecast_days():
    study = build_config(
        {
            "phases": {
                "baseline": {"horizon_weights": [1.0, 0.5, 0.25, 0.1]},
                "augmentation": {"patience": 5, "reload_best": True},
            },
            "objective": {"horizon_days": 20},
        }
    )
    data = study.data.model_copy(update={"horizons_days": (1, 7, 20)})
    config = for_panel(study, data)
    assert config.phases.baseline.horizon_weights == (1.0, 0.25, 0.1)
    assert config.objective.horizon_days == 1
    assert not any(phase.patience or phase.reload_best for _, phase in config.phases.in_order)
