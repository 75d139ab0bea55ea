"""The phase-aware pruner: who is ended, who never is, and what the verdict says."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atft_hpo.config.search_schema import ObjectiveConfig, PrunerConfig
from atft_hpo.errors import StudyError
from atft_hpo.search.pruner import decide
from atft_hpo.search.records import EpochRecord
from bench.pruner.rules import ours
from bench.pruner.simulation import simulate
from bench.pruner.studies import World, draw

Epoch = Callable[..., EpochRecord]
CONFIG = PrunerConfig(min_t=2.0, min_peers=4, skip_phases=1, warmup_epochs=1)
SHARPE = ObjectiveConfig()
DAYS = 120
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Study:
    """Trials that share a market; `edge` is a trial's mean return a day in its own noise units."""

    def __init__(self, epoch: Epoch, seed: int = 0) -> None:
        self.epoch = epoch
        self.rng = np.random.default_rng(seed)
        self.market = self.rng.standard_normal(DAYS)

    def trial(
        self, edge: float, phases: tuple[int, ...] = (1,), epochs: int = 4
    ) -> list[EpochRecord]:
        return [self.one(edge, phase, e) for phase in phases for e in range(epochs)]

    def one(self, edge: float, phase: int, e: int, ic_edge: float | None = None) -> EpochRecord:
        noise, other = self.rng.standard_normal((2, DAYS))
        net = 0.006 * (self.market + 0.3 * (noise + edge))
        ic = 0.1 * (self.market + 0.3 * (other + (edge if ic_edge is None else ic_edge)))
        return self.epoch(phase, e, net, ic)


@pytest.fixture
def study(epoch: Epoch) -> Study:
    return Study(epoch)


def _peers(study: Study, edges: list[float], **kind: Any) -> dict[int, list[EpochRecord]]:
    return {number: study.trial(edge, **kind) for number, edge in enumerate(edges)}


def test_a_clearly_worse_trial_is_ended_with_a_sentence(study: Study) -> None:
    verdict = decide(study.trial(-1.5), _peers(study, [0.0] * 6), CONFIG, SHARPE)
    assert verdict.prune
    assert verdict.reason.startswith("behind in phase adaptive_norm, epoch 4: net Sharpe -")
    assert "a year against the better 50% (t -" in verdict.reason
    assert verdict.reason.count("rank 7 of 7") == 2
    assert "; IC -0.0" in verdict.reason
    assert "\n" not in verdict.reason


def test_a_better_trial_stays(study: Study) -> None:
    verdict = decide(study.trial(1.0), _peers(study, [0.0] * 6), CONFIG, SHARPE)
    assert not verdict.prune
    assert verdict.reason.startswith("kept in phase adaptive_norm")
    assert verdict.reason.count("rank 1 of 7") == 2


@pytest.mark.parametrize(("sharpe_edge", "ic_edge"), [(-2.0, 1.0), (1.0, -2.0)])
def test_behind_on_one_measure_only_is_not_enough(
    study: Study, sharpe_edge: float, ic_edge: float
) -> None:
    own = [study.one(sharpe_edge, 1, e, ic_edge) for e in range(4)]
    assert not decide(own, _peers(study, [0.0] * 6), CONFIG, SHARPE).prune


def test_equal_trials_are_never_ended(study: Study) -> None:
    epochs = study.trial(0.0)
    for keep in (0.01, 0.5, 1.0):
        config = CONFIG.model_copy(update={"keep_share": keep, "min_t": 0.0})
        assert not decide(epochs, dict.fromkeys(range(9), epochs), config, SHARPE).prune


@quick
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.2, 0.5, 0.75]))
def test_the_better_share_is_always_kept(epoch: Epoch, seed: int, share: float) -> None:
    """Whatever the noise, at most the worse 1 − share of all trials is ended at one epoch."""
    study = Study(epoch, seed)
    trials = _peers(study, list(study.rng.standard_normal(8)))
    config = CONFIG.model_copy(update={"keep_share": share, "min_t": 0.0})
    ended = [
        decide(own, {m: e for m, e in trials.items() if m != n}, config, SHARPE).prune
        for n, own in trials.items()
    ]
    assert sum(ended) <= (1 - share) * len(trials)


@quick
@given(seed=st.integers(0, 10_000))
def test_the_order_of_peers_does_not_matter(epoch: Epoch, seed: int) -> None:
    study = Study(epoch, seed)
    peers = _peers(study, list(study.rng.standard_normal(7)))
    own = study.trial(-0.5)
    order = study.rng.permutation(7)
    assert decide(own, {int(n): peers[int(n)] for n in order}, CONFIG, SHARPE) == decide(
        own, peers, CONFIG, SHARPE
    )


@quick
@given(seed=st.integers(0, 10_000))
def test_a_higher_bar_ends_fewer(epoch: Epoch, seed: int) -> None:
    study = Study(epoch, seed)
    own, peers = study.trial(-0.4), _peers(study, [0.0] * 6)
    ended = [
        decide(own, peers, CONFIG.model_copy(update={"min_t": t}), SHARPE).prune
        for t in (0.0, 1.0, 2.0, 4.0, 50.0)
    ]
    assert ended == sorted(ended, reverse=True)
    assert not ended[-1]


def test_only_the_same_steps_of_the_same_phase_count(study: Study) -> None:
    """Brilliant other phases and epochs of peers change nothing; nor do own earlier phases."""
    own, peers = study.trial(-1.0), _peers(study, [0.0] * 6)
    expected = decide(own, peers, CONFIG, SHARPE)
    brilliant = [study.one(9.0, 0, e) for e in range(4)]
    later = [study.one(9.0, 1, e) for e in range(4, 9)] + [study.one(9.0, 2, 0)]
    fuller = {n: brilliant + epochs + later for n, epochs in peers.items()}
    assert decide(brilliant + own, fuller, CONFIG, SHARPE) == expected


def test_peers_without_the_same_steps_are_no_peers(study: Study) -> None:
    peers = _peers(study, [0.0] * 3) | {
        10: study.trial(0.0, epochs=3),
        11: study.trial(0.0, phases=(2,)),
        12: [],
    }
    verdict = decide(study.trial(-3.0), peers, CONFIG, SHARPE)
    assert not verdict.prune
    assert "3 peers came so far, 4 are needed" in verdict.reason


def test_a_peer_that_was_ended_later_is_still_a_peer(study: Study) -> None:
    """Records carry no state: pruned and running trials count as far as they came."""
    peers = {n: study.trial(0.0, epochs=4 + n) for n in range(6)}
    assert decide(study.trial(-2.0), peers, CONFIG, SHARPE).prune


def test_leading_phases_never_end_a_trial(study: Study) -> None:
    own, peers = study.trial(-3.0, (0,)), _peers(study, [0.0] * 6, phases=(0,))
    assert "never prune" in decide(own, peers, CONFIG, SHARPE).reason
    assert decide(own, peers, CONFIG.model_copy(update={"skip_phases": 0}), SHARPE).prune


@pytest.mark.parametrize(("warmup", "ends"), [(0, True), (1, False), (2, False)])
def test_warm_up_holds_in_each_phase(study: Study, warmup: int, ends: bool) -> None:
    own = study.trial(-3.0, (1, 2), epochs=4)[:5]  # first epoch of the second of two phases
    config = CONFIG.model_copy(update={"warmup_epochs": warmup})
    verdict = decide(own, _peers(study, [0.0] * 6, phases=(1, 2)), config, SHARPE)
    assert verdict.prune is ends
    assert ("warm-up" in verdict.reason) is not ends


def test_the_window_forgets_early_epochs(study: Study) -> None:
    peers = _peers(study, [0.0] * 6, epochs=8)
    own = [study.one(-9.0 if e < 6 else 1.0, 1, e) for e in range(8)]
    wide, narrow = (CONFIG.model_copy(update={"window_epochs": w}) for w in (8, 2))
    assert decide(own, peers, wide, SHARPE).prune
    assert not decide(own, peers, narrow, SHARPE).prune


def test_the_first_epoch_of_a_run_and_no_epoch_are_fine(study: Study) -> None:
    assert not decide([], {}, CONFIG, SHARPE).prune
    assert not decide(study.trial(0.0)[:1], {}, CONFIG, SHARPE).prune


@pytest.mark.parametrize(
    ("objective", "label", "ends"),
    [
        (ObjectiveConfig(), "; IC", False),
        (ObjectiveConfig(metric="ic"), "; IC", False),
        (ObjectiveConfig(metric="rank_ic"), "; rank IC", True),
        (ObjectiveConfig(metric="pure_rank_ic"), "; pure rank IC", False),
        (ObjectiveConfig(metric="weighted"), "; rank IC", True),
        (ObjectiveConfig(metric="weighted", weights={"pure_rank_ic": 1.0}), "; pure", False),
        (ObjectiveConfig(metric="weighted", weights={"sharpe": 1.0}), "; rank IC", True),
        (ObjectiveConfig(metric="weighted", weights={"ic": 1.0, "rank_ic": 1.0}), "; IC", False),
    ],
)
def test_the_objective_says_which_ic(
    epoch: Epoch, objective: ObjectiveConfig, label: str, ends: bool
) -> None:
    rng = np.random.default_rng(1)

    def trial(edge: float) -> list[EpochRecord]:
        def draw(shift: float) -> np.ndarray:
            return 0.01 * (rng.standard_normal(DAYS) + shift)

        return [epoch(1, e, draw(edge), draw(-edge), draw(edge), draw(-edge)) for e in (0, 1)]

    verdict = decide(trial(-2.0), {n: trial(0.0) for n in range(6)}, CONFIG, objective)
    assert label in verdict.reason
    assert verdict.prune is ends


def test_sharpe_is_judged_not_the_mean_return(epoch: Epoch) -> None:
    """Half the return at a fifth of the risk is a better Sharpe, so the trial is ahead."""
    rng = np.random.default_rng(2)

    def trial(mean: float, std: float) -> list[EpochRecord]:
        return [epoch(1, e, mean + std * rng.standard_normal(DAYS)) for e in range(3)]

    peers = {n: trial(0.002, 0.010) for n in range(6)}
    assert "rank 1 of 7" in decide(trial(0.001, 0.002), peers, CONFIG, SHARPE).reason


def test_scaling_a_trials_returns_changes_nothing(study: Study) -> None:
    own, peers = study.trial(-0.6), _peers(study, [0.0] * 6)

    def scaled(record: EpochRecord) -> EpochRecord:
        assert record.daily is not None
        return replace(record, daily=replace(record.daily, return_net=record.daily.return_net * 4))

    before = decide(own, peers, CONFIG, SHARPE)
    assert decide([scaled(e) for e in own], peers, CONFIG, SHARPE) == before


@pytest.mark.parametrize("whose", ["own", "peer"])
def test_missing_daily_series_are_an_error(study: Study, whose: str) -> None:
    own, peers = study.trial(0.0), _peers(study, [0.0] * 6)
    target = own if whose == "own" else peers[3]
    target[2] = replace(target[2], daily=None)
    name = "this trial" if whose == "own" else "trial 3"
    with pytest.raises(
        StudyError, match=f"{name} has no daily series at phase adaptive_norm, epoch 3"
    ):
        decide(own, peers, CONFIG, SHARPE)


def test_daily_series_outside_the_comparison_may_be_missing(study: Study) -> None:
    own, peers = study.trial(0.0, epochs=3), _peers(study, [0.0] * 6)
    peers[3][3] = replace(peers[3][3], daily=None)
    decide(own, peers, CONFIG, SHARPE)


@pytest.mark.parametrize("shift", ["days", "length"])
def test_series_of_other_days_are_an_error(study: Study, epoch: Epoch, shift: str) -> None:
    peers = _peers(study, [0.0] * 6)
    days = DAYS if shift == "days" else DAYS - 1
    peers[2] = [epoch(1, e, np.ones(days), first_day="2021-01-01") for e in range(4)]
    with pytest.raises(StudyError, match="different days"):
        decide(study.trial(0.0), peers, CONFIG, SHARPE)


def test_skipped_days_are_left_out(study: Study) -> None:
    """A day that is NaN for everyone changes the numbers of days, not who is behind."""

    def gap(record: EpochRecord) -> EpochRecord:
        assert record.daily is not None
        ic = record.daily.ic.copy()
        ic[10:20] = np.nan
        return replace(record, daily=replace(record.daily, ic=ic))

    own = [gap(e) for e in study.trial(-1.5)]
    peers = {n: [gap(e) for e in epochs] for n, epochs in _peers(study, [0.0] * 6).items()}
    verdict = decide(own, peers, CONFIG, SHARPE)
    assert verdict.prune
    assert "nan" not in verdict.reason


def test_a_trial_without_any_ic_is_not_judged(study: Study) -> None:
    def dead(record: EpochRecord) -> EpochRecord:
        assert record.daily is not None
        nothing = np.full(DAYS, np.nan, dtype=np.float32)
        return replace(record, daily=replace(record.daily, ic=nothing))

    own = [dead(e) for e in study.trial(-1.5)]
    verdict = decide(own, _peers(study, [0.0] * 6), CONFIG, SHARPE)
    assert not verdict.prune
    assert "IC unknown, 0 days in common" in verdict.reason


def test_returns_that_never_move_count_as_zero_sharpe(study: Study, epoch: Epoch) -> None:
    flat = [epoch(1, e, np.zeros(DAYS), np.full(DAYS, -0.05)) for e in range(4)]
    peers = _peers(study, [5.0] * 6)
    assert decide(flat, peers, CONFIG, SHARPE).prune
    constant = [epoch(1, e, np.full(DAYS, 0.0137), np.full(DAYS, -0.05)) for e in range(4)]
    assert decide(constant, peers, CONFIG, SHARPE) == decide(flat, peers, CONFIG, SHARPE)


def test_the_difference_is_taken_to_the_better_share(study: Study) -> None:
    """Far ahead of the worst and far behind the best: what counts is the best."""
    peers = _peers(study, [3.0] * 5 + [-6.0] * 3)
    verdict = decide(study.trial(0.0), peers, CONFIG, SHARPE)
    assert verdict.prune
    assert verdict.reason.count("rank 6 of 9") == 2


def test_just_enough_peers_are_enough(study: Study) -> None:
    assert decide(study.trial(-3.0), _peers(study, [0.0] * 4), CONFIG, SHARPE).prune


def test_simulated_studies_save_epochs_and_keep_the_best() -> None:
    """Phased, noisy curves: fewer epochs, no regret, and hardly any of the best ended."""
    config = PrunerConfig(keep_share=0.5, min_t=2.5)
    world = World()
    results = [simulate(draw(world, 30, seed), ours(config)) for seed in range(6)]
    none = [simulate(draw(world, 30, seed), lambda t, e: False) for seed in range(6)]
    assert np.mean([r.used for r in results]) < 0.8
    assert np.mean([r.killed for r in results]) <= 0.12
    assert np.mean([r.regret for r in results]) <= np.mean([r.regret for r in none]) + 0.05


def test_noise_alone_ends_few_at_the_recommended_bar() -> None:
    """When trials do not truly differ there is nothing to save, and most of them run on."""
    world = World(days=125, sharpe_spread=0.0)
    ended = {
        t: np.mean(
            [simulate(draw(world, 20, s), ours(PrunerConfig(min_t=t))).ended for s in range(4)]
        )
        for t in (1.0, 3.0)
    }
    assert ended[3.0] < 0.5 * ended[1.0]
