"""Samplers by name: silent, seeded by trial, and right about what they cannot do."""

import warnings
from typing import Any, Literal

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import SamplerConfig
from atft_hpo.config.toml import build_config
from atft_hpo.errors import ConfigError
from atft_hpo.search.samplers import SeededByTrial, make_sampler
from atft_hpo.search.space import suggest

Kind = Literal["tpe", "gp", "random", "cmaes"]
KINDS: tuple[Kind, ...] = ("tpe", "gp", "random", "cmaes")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _sampler(kind: Kind, config: Config, startup: int = 4, seed: int = 0) -> Any:
    settings = SamplerConfig(kind=kind, startup_trials=startup, seed=seed)
    return make_sampler(settings, config.search.space)


def _run(study: optuna.Study, config: Config, trials: int) -> list[dict[str, Any]]:
    seen = []
    for _ in range(trials):
        trial = study.ask()
        params = suggest(trial, config)
        seen.append(params)
        study.tell(trial, -params["model.dropout"] - 0.1 * params["model.fan.k"])
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_every_sampler_proposes_beyond_startup_without_a_warning(
    kind: Kind, searched: Config, caplog: pytest.LogCaptureFixture
) -> None:
    study = optuna.create_study(direction="maximize", sampler=_sampler(kind, searched))
    optuna.logging.enable_propagation()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen = _run(study, searched, 8)
    optuna.logging.disable_propagation()
    assert len({str(params) for params in seen}) == 8
    # Optuna says once that GP would be faster with an optional package; that may be heard.
    told = [r.message for r in caplog.records if "greenlet" not in r.message]
    assert not told


@pytest.mark.parametrize("kind", ["tpe", "cmaes"])
def test_a_trial_draws_the_same_whoever_asks(kind: Kind, searched: Config) -> None:
    """One agent, two agents in turn, and an agent started again: the same trials."""
    one = optuna.create_study(direction="maximize", sampler=_sampler(kind, searched))
    expected = _run(one, searched, 8)
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(direction="maximize", storage=storage, study_name="s")
    agents = [
        optuna.load_study(study_name="s", storage=storage, sampler=_sampler(kind, searched))
        for _ in range(2)
    ]
    seen = [_run(agents[i % 2], searched, 1)[0] for i in range(5)]
    again = optuna.load_study(study_name="s", storage=storage, sampler=_sampler(kind, searched))
    seen += _run(again, searched, 3)
    assert study.study_name == "s"
    assert seen == expected


def test_racing_agents_never_propose_the_same_startup_trial(searched: Config) -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(direction="maximize", storage=storage, study_name="s")
    agents = [
        optuna.load_study(study_name="s", storage=storage, sampler=_sampler("tpe", searched, 10))
        for _ in range(3)
    ]
    trials = [agent.ask() for agent in agents for _ in range(3)]
    assert len({str(suggest(trial, searched)) for trial in trials}) == 9


def test_the_seed_matters(searched: Config) -> None:
    first, other = (
        _run(optuna.create_study(sampler=_sampler("tpe", searched, seed=s)), searched, 3)
        for s in (0, 1)
    )
    assert first != other


def test_startup_trials_are_random_then_the_model_takes_over(searched: Config) -> None:
    def ask(startup: int) -> list[dict[str, Any]]:
        study = optuna.create_study(
            direction="maximize", sampler=_sampler("tpe", searched, startup)
        )
        return _run(study, searched, 8)

    early, late = ask(4), ask(8)
    assert early[:4] == late[:4]
    assert early[4:] != late[4:]


def test_tpe_finds_the_good_corner(searched: Config) -> None:
    study = optuna.create_study(direction="maximize", sampler=_sampler("tpe", searched, 8))
    seen = _run(study, searched, 30)
    late = sum(params["model.dropout"] for params in seen[-10:]) / 10
    start = sum(params["model.dropout"] for params in seen[:8]) / 8
    assert late < 0.6 * start


def test_pruned_trials_teach_tpe(searched: Config) -> None:
    study = optuna.create_study(direction="maximize", sampler=_sampler("tpe", searched, 3))
    for _ in range(6):
        trial = study.ask()
        trial.report(-suggest(trial, searched)["model.dropout"], 1001)
        study.tell(trial, state=TrialState.PRUNED)
    assert study.trials[-1].system_attrs  # relative sampling took part


def test_cmaes_needs_two_numeric_keys() -> None:
    config = build_config(
        {
            "search": {
                "space": {
                    "phases.gat.freeze": {"type": "categorical", "choices": ["none", "encoder"]},
                    "model.dropout": {"type": "float", "low": 0.0, "high": 0.3},
                }
            }
        }
    )
    with pytest.raises(ConfigError, match="'cmaes', but the space has 1 numeric keys"):
        _sampler("cmaes", config)


def test_cmaes_draws_categorical_keys_at_random(searched: Config) -> None:
    study = optuna.create_study(direction="maximize", sampler=_sampler("cmaes", searched, 2))
    seen = _run(study, searched, 12)
    assert len({params["phases.fine_tuning.freeze"] for params in seen}) == 3
    assert any("cma:generation" in trial.system_attrs for trial in study.trials)


def test_tpe_proposes_what_optunas_own_does(searched: Config) -> None:
    """What is remembered of the past changes nothing: finished, pruned and running trials."""
    ours, theirs = (
        optuna.create_study(direction="maximize", sampler=sampler)
        for sampler in (
            _sampler("tpe", searched),
            SeededByTrial(
                lambda config, seed: optuna.samplers.TPESampler(
                    n_startup_trials=config.startup_trials,
                    seed=seed,
                    multivariate=True,
                    constant_liar=True,
                ),
                SamplerConfig(kind="tpe", startup_trials=4),
            ),
        )
    )
    for number in range(24):
        trials = [study.ask() for study in (ours, theirs)]
        first, second = (suggest(trial, searched) for trial in trials)
        assert first == second
        if number % 4 == 3:
            continue  # it runs on; the constant liar counts it as bad
        for trial in trials:
            trial.report(first["model.dropout"], 0)
            pruned = number % 4 == 2
            value = None if pruned else -first["model.dropout"]
            trial.study.tell(trial, value, TrialState.PRUNED if pruned else TrialState.COMPLETE)


def test_tpe_reads_a_finished_trials_parameters_once(
    searched: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the method of Optuna's that is replaced: under another name it would not be called."""
    study = optuna.create_study(direction="maximize", sampler=_sampler("tpe", searched))
    _run(study, searched, 8)
    read: list[int] = []
    original = TPESampler._get_params

    def counted(self: TPESampler, trial: Any, study: optuna.Study) -> Any:
        read.append(trial.number)
        return original(self, trial, study)

    monkeypatch.setattr(TPESampler, "_get_params", counted)
    _run(study, searched, 2)
    assert read == [7, 8]  # one new trial each time; those before it were read before
