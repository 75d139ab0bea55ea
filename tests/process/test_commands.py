"""Commands against a real database, with quick trials in place of training."""

import json
import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import quick_trial
from sqlalchemy import text

from atft_hpo.cli import app as cli
from atft_hpo.config.settings import Settings
from atft_hpo.config.toml import dump_config, load_config
from atft_hpo.errors import ConfigError
from atft_hpo.service.agent.agent import Farewell
from atft_hpo.service.database.connection import Database
from atft_hpo.service.display.dashboard import make_dashboard, serve
from atft_hpo.service.display.session_summary import close_session
from atft_hpo.service.process.launchers import LocalLauncher

pytestmark = pytest.mark.postgres
MakeConfig = Callable[..., Any]
Invoke = Callable[..., Any]


def panel_at(root: Path) -> Any:
    """400 days of one stock, without files."""
    names = {"sectors": ("unknown",), "codes": ("A",), "features": ()}
    return SimpleNamespace(
        root=root,
        fingerprint="f" * 64,
        dates=np.datetime64("2020-01-01") + np.arange(400),
        sector=np.zeros((400, 1), dtype=np.int16),
        alive=np.ones((400, 1), dtype=np.bool_),
        manifest=SimpleNamespace(horizons_days=(1, 5, 10, 20), delay_days=1, **names),
    )


@pytest.fixture
def invoke(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Invoke:
    """Runs the command in this process; trials are quick, and so is the panel."""
    monkeypatch.setenv("ATFT_HPO_STORAGE", settings.storage_url or "")
    monkeypatch.setenv("ATFT_HPO_VOLUME", str(settings.volume.root))
    monkeypatch.setenv("ATFT_HPO_DEVICE", "cpu")

    def quick(url: str, settings: Settings, *_: object) -> LocalLauncher:
        return LocalLauncher(url, settings, quick_trial.main, preload=())

    monkeypatch.setattr("atft_hpo.service.agent.session.LocalLauncher", quick)
    panel = panel_at(settings.volume.root / "panels" / "p")
    monkeypatch.setattr("atft_hpo.cli.studies.build_panel", lambda *_: panel)
    monkeypatch.setattr(cli, "_debug", [])

    def run(*arguments: object) -> Any:
        monkeypatch.setattr(sys, "argv", ["atft-hpo", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr()
        return SimpleNamespace(code=end.value.code or 0, out=output.out, err=output.err)

    return run


@pytest.fixture
def study_file(tmp_path: Path, make_config: MakeConfig) -> Callable[..., Path]:
    def write(*args: Any, **kwargs: Any) -> Path:
        path = tmp_path / "race.toml"
        path.write_text(dump_config(make_config(*args, **kwargs)))
        return path

    return write


def test_run_to_the_end_again_and_further(invoke: Invoke, study_file: Callable[..., Path]) -> None:
    study = study_file(script="value = 1.5", budget={"trials": 2})
    done = invoke("run", study, "--workers", 2)
    assert done.code == 0, done
    assert "trial 0 · baseline 1 · epoch 1/3" in done.out
    assert "COMPLETE       2  ran through" in done.out
    assert "best trial 0: sharpe 1.5" in done.out
    assert "Best trials, validation, 1 day ahead" in done.out
    assert "+0.0100" in done.out, "the IC of the epoch that was kept"
    assert "model.dropout = 0.1" in done.out
    assert "all 2 trials are done" in done.out
    assert "atft-hpo export race --out best.toml\n" in done.out
    assert "atft-hpo resume race --trials 12 --workers 2 --device cpu\n" in done.out
    report = Path(os.environ["ATFT_HPO_VOLUME"]) / "studies" / "race" / "report.html"
    assert report.is_file()
    dates = load_config(report.with_name("study.toml")).split.dates
    assert dates is not None
    assert str(dates.test_last) == "2021-02-03", "the last of 400 days"

    again = invoke("run", study)
    assert again.code == 0
    assert "epoch" not in again.out.partition("best trial")[0]
    assert "all 2 trials are done" in again.out

    more = invoke("run", study, "--trials", 3)
    assert "3  of 3 asked for" in more.out
    fewer = invoke("run", study, "--trials", 1)
    assert "3 trials were asked for before; a total is only ever raised" in fewer.out

    status = json.loads(invoke("status", study, "--json").out)
    assert (status["name"], status["finished"], status["outcomes"]) == ("race", 3, {"COMPLETE": 3})
    assert "race: 3 of 3 done · 3 complete · best 1.5 (trial 0)" in invoke("status").out
    assert invoke("cancel", "race", 0).err.startswith("error: trial 0 of 'race' is finished")
    assert invoke("export", "race", "--out", "x.toml", "--trial", 9).code == 5


def test_stop_worker_resume(invoke: Invoke, make_study: MakeConfig) -> None:
    make_study(budget={"trials": 1})
    assert "no new trial starts, running trials save their state" in invoke("stop", "race").out
    worker = invoke("worker", "race")
    assert worker.code == 0
    assert "no new trial starts: stopped by a person\n" in worker.out
    assert "atft-hpo resume race --device cpu\n" in worker.out
    stopped = invoke("status", "race").out
    assert "stopped by a person; to continue:\n    " in stopped
    assert stopped.endswith("atft-hpo resume race\n")
    resumed = invoke("resume", "race")
    assert "the one trial is done" in resumed.out
    assert invoke("stop", "race", "--drain").out.endswith("atft-hpo resume race\n")


def test_broken_study_is_an_error(invoke: Invoke, study_file: Callable[..., Path]) -> None:
    budget = {"trials": 9, "same_failures_stop": 1}
    done = invoke("run", study_file(script="error = 'health'", budget=budget), "--workers", 1)
    assert done.code == 5
    assert "UNHEALTHY       1" in done.out
    assert "resume" not in done.out, "it would stop again"
    assert done.err.startswith("error: the first 1 trials all ended as UNHEALTHY")


def test_changed_space_is_refused(
    invoke: Invoke, study_file: Callable[..., Path], make_study: MakeConfig
) -> None:
    make_study()
    space = {"model.dropout": {"type": "float", "low": 0.0, "high": 0.4}}
    done = invoke("run", study_file(search={"space": space}))
    assert done.code == 5
    assert "choose another study.name than 'race'" in done.err
    assert done.err.count("\n") == 1


def test_ctrl_c_is_130_and_the_same_command_continues(
    invoke: Invoke, study_file: Callable[..., Path], database: Database
) -> None:
    study = study_file(script="epoch_seconds = 0.2\nepochs = 6", budget={"trials": 1})
    query = text("SELECT 1 FROM atft_epoch")

    def interrupt() -> None:
        while not database.run(lambda c: c.execute(query).all()):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    first = invoke("run", study)
    thread.join()
    assert first.code == 130
    assert "interrupted with 0 of 1 done; the same command continues" in first.out
    assert "the one trial is done" in invoke("run", study).out


def test_unknown_study_everywhere(invoke: Invoke, make_study: MakeConfig, tmp_path: Path) -> None:
    make_study()
    for command in ("worker", "resume", "status", "stop", "report"):
        done = invoke(command, "other")
        assert done.code == 5, command
        assert "known: race" in done.err, command


def test_nothing_yet(invoke: Invoke, make_study: MakeConfig) -> None:
    assert invoke("status").out.startswith("no study yet; to start one:\n    ")
    assert invoke("stop", "race").err.endswith("atft-hpo run STUDY.toml starts one\n")
    assert json.loads(invoke("status", "--json").out) == []
    make_study()
    done = invoke("export", "race", "--out", "x.toml")
    assert "no COMPLETE trial yet" in done.err


def test_storage_init_masks_the_url(invoke: Invoke) -> None:
    done = invoke("storage", "init")
    assert done.code == 0
    assert done.out.startswith("initialised: postgresql+psycopg2://postgres@/test_")


def test_closing_words_without_a_complete_trial(
    database: Database, make_study: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    make_study()
    close_session(database, "race", Farewell(True, None), Console(width=120))
    out = capsys.readouterr().out
    assert "no trial is COMPLETE yet" in out
    assert "atft-hpo resume race" in out


def test_dashboard_serves_the_same_database(database: Database, make_study: MakeConfig) -> None:
    make_study()
    with make_dashboard(database, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/api/studies"
            with urllib.request.urlopen(url, timeout=30) as answer:
                studies = json.load(answer)["study_summaries"]
            with pytest.raises(ConfigError, match="choose another --port"):
                make_dashboard(database, "127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()
    assert [study["study_name"] for study in studies] == ["race"]


def test_dashboard_ends_with_a_signal(database: Database) -> None:
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()

    before = signal.getsignal(signal.SIGTERM)
    try:
        serve(database, "127.0.0.1", 0, say)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert lines[0].startswith("optuna-dashboard on http://127.0.0.1:")
