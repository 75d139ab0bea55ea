"""Optuna's samplers by name, drawn so that restarts and racing agents never repeat a trial.

    sampler = make_sampler(config.search.sampler, config.search.space)

A sampler with a fixed seed starts its random stream anew in each process: two agents would propose
the same start-up trials, and a continued study would propose its first ones again. Here the stream
of a trial is derived from the seed and the trial's number, so a trial's start-up draw is the same
whoever asks for it, and no two trials share one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from atft_hpo.config.search_schema import Choices, Domain, SamplerConfig
from atft_hpo.errors import ConfigError


def make_sampler(config: SamplerConfig, space: Mapping[str, Domain]) -> BaseSampler:
    """The sampler named by `config.kind`.

    TPE is multivariate with a constant liar, which keeps parallel trials apart. GP and CMA-ES learn
    from COMPLETE trials only. CMA-ES moves numeric keys; categorical ones are drawn at random.

    Raises:
        ConfigError: CMA-ES with fewer than two numeric keys.
    """
    numeric = [key for key, domain in space.items() if not isinstance(domain, Choices)]
    if config.kind == "cmaes" and len(numeric) < 2:
        raise ConfigError(
            f"search.sampler.kind is 'cmaes', but the space has {len(numeric)} numeric keys; "
            "it needs at least 2: use 'tpe'"
        )
    builders: dict[str, Callable[[SamplerConfig, int], BaseSampler]] = {
        "tpe": TpeBuilder(), "gp": _gp, "random": _random, "cmaes": _cmaes,
    }  # fmt: skip
    return SeededByTrial(builders[config.kind], config)


class SeededByTrial(BaseSampler):
    """A sampler that is made anew for each trial, seeded by the study's seed and its number.

    Optuna's samplers keep what they learn in the study, not in themselves, so nothing is lost.
    For one study; not for several threads of one process.
    """

    def __init__(
        self, build: Callable[[SamplerConfig, int], BaseSampler], config: SamplerConfig
    ) -> None:
        self._build = build
        self._config = config
        self._current: tuple[int, BaseSampler] | None = None

    def of_trial(self, number: int) -> BaseSampler:
        """The sampler of trial `number`."""
        if self._current is None or self._current[0] != number:
            seed = int(np.random.SeedSequence((self._config.seed, number)).generate_state(1)[0])
            self._current = (number, self._build(self._config, seed))
        return self._current[1]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.of_trial(trial.number).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.of_trial(trial.number).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        sampler = self.of_trial(trial.number)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.of_trial(trial.number).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self.of_trial(trial.number).after_trial(study, trial, state, values)


class TpeBuilder:
    """Makes the TPE samplers of one study, which share what is known of its past."""

    def __init__(self) -> None:
        self._space = IntersectionSearchSpace(include_pruned=True)
        self._rows = ParameterRows()

    def __call__(self, config: SamplerConfig, seed: int) -> BaseSampler:
        """The sampler of one trial."""
        return _SharingTpe(self._space, self._rows, config.startup_trials, seed)


class ParameterRows:
    """Parameters of trials as the numbers that TPE reckons with; a finished one's are read once."""

    def __init__(self) -> None:
        self._space: dict[str, BaseDistribution] = {}
        self._rows: dict[int, list[float] | None] = {}

    def of(
        self,
        trials: Sequence[FrozenTrial],
        space: Mapping[str, BaseDistribution],
        params: Callable[[FrozenTrial], Mapping[str, Any]],
    ) -> list[list[float]]:
        """A number for each parameter of `space`, by trial; trials that lack one are left out."""
        if self._space != space:
            self._space, self._rows = dict(space), {}
        found = []
        for trial in trials:
            if trial._trial_id in self._rows:
                found.append(self._rows[trial._trial_id])
                continue
            found.append(_numbers(params(trial), space))
            if trial.state.is_finished():
                self._rows[trial._trial_id] = found[-1]
        return [row for row in found if row is not None]


def _numbers(
    params: Mapping[str, Any], space: Mapping[str, BaseDistribution]
) -> list[float] | None:
    if not space.keys() <= params.keys():
        return None
    return [domain.to_internal_repr(params[name]) for name, domain in space.items()]


class _SharingTpe(TPESampler):
    """TPE that looks only at new trials, to find the parameters that all have and their values.

    One made anew would compare every distribution of every trial and convert every value: at 2,000
    trials of 22 parameters most of a suggestion's time. `_get_internal_repr` is Optuna's own
    method; a test holds both to the same suggestions.
    """

    def __init__(
        self, space: IntersectionSearchSpace, rows: ParameterRows, startup_trials: int, seed: int
    ) -> None:
        super().__init__(
            n_startup_trials=startup_trials, seed=seed, multivariate=True, constant_liar=True
        )
        self._shared_space = space
        self._shared_rows = rows

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, NDArray[np.float64]]:
        rows = self._shared_rows.of(
            trials, search_space, lambda trial: self._get_params(trial, study)
        )
        values_TP = np.array(rows, dtype=np.float64).reshape(len(rows), len(search_space))
        return dict(zip(search_space, values_TP.T.copy(), strict=True))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        found = self._shared_space.calculate(study, use_cache=True)
        return {name: domain for name, domain in found.items() if not domain.single()}


def _gp(config: SamplerConfig, seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler  # imports torch and scipy

    return GPSampler(
        n_startup_trials=config.startup_trials, seed=seed, warn_independent_sampling=False
    )


def _random(config: SamplerConfig, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _cmaes(config: SamplerConfig, seed: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler  # imports cmaes

    return CmaEsSampler(
        n_startup_trials=config.startup_trials, seed=seed, warn_independent_sampling=False
    )
