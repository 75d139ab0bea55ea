"""The screen of metrics: read as printed, at 80 columns and in a pipe."""

import io
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from atft_hpo.config.data_schema import SplitDates
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.data.neutralization.styles import STYLES
from atft_hpo.data.sampling.splits import dated_split
from atft_hpo.results.console import print_whole
from atft_hpo.results.metrics_table import (
    AFTER_STYLES,
    ALARMS,
    BEFORE_STYLES,
    JSON_ONLY,
    STYLE,
    metrics_heading,
    metrics_legend,
    metrics_table,
)
from atft_hpo.results.predictions import forecast_checkpoint

ONE_HORIZON: dict[str, float] = {
    "ic": 0.01234, "ic_t": 2.345, "rank_ic": -0.00005, "rank_ic_t": -0.04,
    "pure_rank_ic": 0.2, "pure_rank_ic_t": 13.77, "style_r2": 0.2583,
    "style_exposure_liquidity": 0.0004, "style_exposure_momentum_120_20": -0.5,
    "sharpe": -1.204, "sharpe_gross": 20.18, "return_annual": -1.0349, "max_drawdown": 0.0042,
    "hit_rate": 0.5, "turnover": 0.754, "turnover_blocked": 0.0123,
    "score_autocorrelation": 0.66, "score_variance": 0.052,
    "days": 1742.0, "pure_days": 1740.0, "days_skipped": 2.0, "days_constant": 0.0,
    "pure_days_constant": 0.0, "ic_zero_share": 0.0, "icir": 0.3,
}  # fmt: skip
ONE_HORIZON_SCREEN = """\
                                   1 d*
IC         RankIC               -0.0001
             t                     -0.0
           IC                   +0.0123
             t                     +2.3
pure       RankIC               +0.2000
             t                    +13.8
styles     R², with sectors      25.8 %
           liquidity             +0.000
           momentum 120 20       -0.500
portfolio  Sharpe, net            -1.20
           Sharpe, gross          20.18
           return a year, net  -103.5 %
           max. drawdown, net     0.4 %
           days won, net         50.0 %
           turnover a day          0.75
             not tradable         1.2 %
score      autocorrelation         0.66
           variance                0.05
days       scored                  1742
           scored, pure            1740
           left out                   2
"""
FOUR_HORIZONS_SCREEN = """\
                                   1 d     5 d*    10 d     20 d
IC         RankIC              +0.1911  +0.2256       –  +0.1921
             t                       –        –       –        –
           IC                        –        –       –        –
             t                       –        –       –        –
pure       RankIC                    –        –       –        –
             t                       –        –       –        –
styles     R², with sectors          –        –       –        –
           max return 20 d           –        –       –   -0.048
portfolio  Sharpe, net           20.18    13.86    9.03        –
           Sharpe, gross             –        –       –        –
           return a year, net   94.7 %        –       –        –
           max. drawdown, net        –        –       –        –
           days won, net             –        –       –        –
           turnover a day            –        –       –        –
             not tradable            –        –       –        –
score      autocorrelation           –        –       –        –
           variance                  –        –       –        –
days       scored                   70       70      70        –
           scored, pure              –        –       –        –
           IC exactly 0              –    0.0 %  12.5 %        –
"""


def config_of(horizons: list[int], objective: int = 1) -> Config:
    weights = [1.0] * len(horizons)
    phases = ("baseline", "adaptive_norm", "gat", "fine_tuning", "augmentation")
    values: dict[str, Any] = {f"phases.{name}.horizon_weights": weights for name in phases}
    return with_values(
        Config(), values | {"data.horizons_days": horizons, "objective.horizon_days": objective}
    )


def printed(table: Any, **options: Any) -> str:
    """What a console of 80 columns prints, without the spaces that fill its lines up."""
    console = Console(file=io.StringIO(), **({"width": 80} | options))
    print_whole(console, table)
    return "".join(line.rstrip() + "\n" for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def test_one_horizon() -> None:
    assert printed(metrics_table(ONE_HORIZON, config_of([1]))) == ONE_HORIZON_SCREEN


def test_four_horizons_of_which_the_second_is_the_objectives() -> None:
    metrics = {
        "rank_ic_1d": 0.1911, "rank_ic": 0.2256, "rank_ic_10d": np.nan, "rank_ic_20d": 0.1921,
        "style_exposure_max_return_20d_20d": -0.048, "sharpe_1d": 20.18, "sharpe": 13.86,
        "sharpe_10d": 9.03, "return_annual_1d": 0.947, "days_1d": 70, "days": 70, "days_10d": 70,
        "ic_zero_share": 0.0, "ic_zero_share_10d": 0.125,
    }  # fmt: skip
    screen = printed(metrics_table(metrics, config_of([1, 5, 10, 20], objective=5)))
    assert screen == FOUR_HORIZONS_SCREEN


def test_with_every_metric_and_five_horizons_it_fits_into_80_columns() -> None:
    rows = [row.metric for row in (*BEFORE_STYLES, *AFTER_STYLES, *ALARMS)]
    names = [*rows, *(STYLE + style for style in STYLES)]
    horizons = [1, 5, 10, 20, 120]
    metrics = {
        f"{name}{suffix}": -0.98765
        for name in names
        for suffix in ("", *(f"_{days}d" for days in horizons[1:]))
    }
    lines = printed(metrics_table(metrics, config_of(horizons))).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 32
    assert not any("–" in line or "…" in line for line in lines)


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    table = metrics_table(ONE_HORIZON, config_of([1]))
    assert printed(table, width=20) == ONE_HORIZON_SCREEN


def test_a_pipe_gets_no_colours() -> None:
    assert "\x1b" not in printed(metrics_table(ONE_HORIZON, config_of([1])))
    colours = printed(metrics_table(ONE_HORIZON, config_of([1])), force_terminal=True)
    assert "\x1b" in colours


def test_every_metric_of_an_evaluation_has_a_place(trained: Any) -> None:
    shown = {row.metric for row in (*BEFORE_STYLES, *AFTER_STYLES, *ALARMS)}
    styles = {STYLE + style for style in STYLES}
    of_objective = {name for name in trained.result.metrics if not name.endswith("_5d")}
    of_objective |= styles & trained.result.metrics.keys()
    assert of_objective <= shown | styles | set(JSON_ONLY)


def test_labels_are_distinct_within_their_group() -> None:
    rows = (*BEFORE_STYLES, *AFTER_STYLES, *ALARMS)
    labels = [(row.group, row.label) for row in rows if row.label.strip() != "t"]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("metric", ["sharpe", "rank_ic", "pure_rank_ic", "ic", "weighted"])
def test_the_legend_fits_too(metric: str) -> None:
    config = with_values(config_of([1]), {"objective.metric": metric})
    assert max(map(len, metrics_legend(config))) <= 80
    assert "net of 10 bps" in "\n".join(metrics_legend(config))


FIRST_DAY = date(2020, 1, 1)
DATES = SplitDates(
    train_first=FIRST_DAY,
    train_last=FIRST_DAY + timedelta(89),
    validation_first=FIRST_DAY + timedelta(100),
    validation_last=FIRST_DAY + timedelta(129),
    test_first=FIRST_DAY + timedelta(140),
    test_last=FIRST_DAY + timedelta(169),
    purge_days=6,
    embargo_days=4,
)


def heading(
    days: range, config: Config, checkpoint: str = "/x/best_main.pt", panel_days: int = 400
) -> list[str]:
    panel: Any = SimpleNamespace(dates=np.datetime64("2020-01-01") + np.arange(panel_days))
    split = dated_split(panel.dates, DATES)
    forecast: Any = SimpleNamespace(days=days, dates=DATES, split=split, config=config)
    return metrics_heading(Path(checkpoint), forecast, panel)


def test_the_heading_names_checkpoint_origin_and_days() -> None:
    checkpoint = "/v/studies/quick/trials/17/attempt-2/best_main.pt"
    assert heading(range(100, 130), Config(), checkpoint) == [
        f"checkpoint  {checkpoint}",
        "from        trial 17 of study quick, attempt 2",
        "days        30 from 2020-04-10 to 2020-05-09: validation",
        "",
    ]


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (range(89, 120), ": partly trained on, no evidence"),
        (range(140, 170), ": test"),
        (range(120, 141), ": reaching into the test range"),
        (range(110, 111), ": neither trained on nor test"),
        (range(10, 90), ": trained on, no evidence"),
        (range(170, 400), ": live, after its study's data"),
        (range(169, 400), ": reaching into the test range"),
    ],
)
def test_the_heading_says_what_days_are_worth(days: range, words: str) -> None:
    line = heading(days, Config())[2]
    assert line.endswith(words)
    assert len(line) < 80


def test_a_panel_with_a_part_of_a_range_is_named() -> None:
    line = heading(range(100, 120), Config(), panel_days=120)[2]
    assert line.endswith(": a part of validation, from 2020-04-10 to 2020-05-09")
    assert heading(range(20, 60), Config(), panel_days=60)[2].endswith(": trained on, no evidence")


def test_the_heading_of_an_exported_configurations_run() -> None:
    origin = {"study": "quick", "trial": 3, "panel": "p", "features_sha256": "f", "version": "1"}
    exported = with_values(Config(), {"provenance": origin})
    days, of_trial = range(100, 130), "of the configuration of trial 3 of study quick"
    run = "/v/runs/best/best_main.pt"
    assert heading(days, exported, run)[1] == f"from        run best {of_trial}"
    assert heading(days, exported)[1] == f"from        a run {of_trial}"
    assert heading(days, Config(), run)[1] == "from        run best"
    assert heading(days, Config())[1] == "from        a run or trial of study run"


def test_the_heading_of_a_real_run(trained: Any) -> None:
    forecast = forecast_checkpoint(trained.paths.best, trained.panel, "validation")
    lines = metrics_heading(trained.paths.best, forecast, trained.panel)
    assert lines[1] == "from        a run or trial of study tiny"
    assert lines[2].endswith(": validation")
