"""The search half of the schema: study, space, sampler, pruner, objective, budgets."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from atft_hpo.config.section import Count, Section

Scalar = bool | int | float | str


class StudyInfo(Section):
    """What the study is for."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)] = "run"
    """Name in the database and in the volume."""
    question: str = ""
    """The question the study answers."""


class FloatRange(Section):
    """A real-valued parameter."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"low = {self.low}, high = {self.high}: expected low < high, "
                "and low > 0 with log = true"
            )
        if self.log and self.step is not None:
            raise ValueError("log = true and step exclude each other")
        return self


class IntRange(Section):
    """An integer parameter."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: Count = 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high or (self.log and self.low < 1):
            raise ValueError(
                f"low = {self.low}, high = {self.high}: expected low < high, "
                "and low >= 1 with log = true"
            )
        if self.log and self.step != 1:
            raise ValueError("log = true and step exclude each other")
        return self


class Choices(Section):
    """A categorical parameter; a choice may be a list (such as heads per layer)."""

    type: Literal["categorical"]
    choices: tuple[Scalar | tuple[Scalar, ...], ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.choices) < 2:
            raise ValueError(f"{len(self.choices)} choice(s): expected at least 2")
        return self


Domain = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]


class SamplerConfig(Section):
    """What proposes parameters."""

    kind: Literal["tpe", "gp", "random", "cmaes"] = "tpe"
    """TPE for few trials or with pruning; GP from about 50 trials with light pruning."""
    seed: int = 0
    """Seed of the sampler."""
    startup_trials: Count = 10
    """Random trials before the model of the sampler is used."""


class PrunerConfig(Section):
    """What ends a trial early."""

    kind: Literal["phase_aware", "none", "median", "percentile", "halving", "hyperband"] = (
        "phase_aware"
    )
    """`phase_aware`: paired daily differences against peers of the same phase and epoch."""
    keep_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of the trials kept at each comparison (phase_aware, percentile)."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    """Epochs of each phase before a comparison."""
    skip_phases: Annotated[int, Field(ge=0)] = 1
    """Leading phases that never prune."""
    window_epochs: Count = 5
    """Epochs of the current phase that are averaged."""
    min_peers: Count = 5
    """Peers needed for a comparison."""
    max_peers: Count = 50
    """Newest peers that phase_aware compares with; a longer study pays for no more of them. The
    difference to the mean of the better 25 of 50 has 2 % more variance (1 + 1/25 against 1 + 1/50)
    than to the better 50 of 100, so its t-statistic is 1 % smaller, for half of the cost."""
    min_t: Annotated[float, Field(ge=0.0)] = 2.5
    """Paired t-statistic by which a trial must be behind, on Sharpe and on IC (docs/design.md)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "phase_aware" and self.max_peers < self.min_peers:
            raise ValueError(
                f"max_peers = {self.max_peers}, min_peers = {self.min_peers}: no comparison would "
                "ever have its peers, and nothing be pruned; raise max_peers or lower min_peers"
            )
        return self


class SearchConfig(Section):
    """Space, sampler and pruner."""

    space: dict[str, Domain] = Field(default={})
    """Parameters by configuration key, such as "phases.gat.lr"."""
    enqueue_baseline: bool = True
    """The first trial is the base configuration itself."""
    sampler: SamplerConfig = SamplerConfig()
    pruner: PrunerConfig = PrunerConfig()


class ObjectiveConfig(Section):
    """The number of the last phase reached in full that the search maximises."""

    metric: Literal["sharpe", "rank_ic", "pure_rank_ic", "ic", "weighted"] = "sharpe"
    """`sharpe`: annualised, net of portfolio.cost_bps. `pure_rank_ic`: RankIC of what sectors and
    styles leave of forecast and label. `weighted`: see `weights`."""
    weights: dict[Literal["sharpe", "rank_ic", "pure_rank_ic", "ic"], float] = Field(
        default={"sharpe": 0.1, "rank_ic": 1.0}
    )
    """Weights of the sum when metric = "weighted"."""
    horizon_days: Count = 1
    """Horizon whose metrics count."""
    smoothing_epochs: Count = 3
    """A value is the mean over so many epochs of the phase, so that a lucky epoch does not win."""


class BudgetConfig(Section):
    """When the study ends."""

    trials: Count = 20
    """Trials in total, over all agents and restarts."""
    wall_clock_hours: Annotated[float, Field(gt=0.0)] | None = None
    """No new trial starts so long after the study was first started; unlimited when absent."""
    device_hours: Annotated[float, Field(gt=0.0)] | None = None
    """No new trial starts once trials have used so many device-hours; unlimited when absent."""
    target_value: float | None = None
    """No new trial starts once a trial has reached this value."""
    trial_hours: Annotated[float, Field(gt=0.0)] | None = None
    """A trial that runs longer ends as TIMED_OUT; unlimited when absent."""
    max_attempts: Count = 3
    """Processes one trial may cost before it fails (crash, kill, lost machine, out of memory)."""
    same_failures_stop: Count = 3
    """The study stops when its first so many trials all fail the same way."""
