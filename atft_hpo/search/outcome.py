"""How a trial ended, as words with a remedy. Never a number."""

import enum


class Outcome(enum.Enum):
    """The ending of a trial. The value is a sentence that says what to do."""

    COMPLETE = "ran through all its phases"
    PRUNED = "ended early, behind its peers; nothing to do"
    CANCELLED = "cancelled by a person"
    OUT_OF_MEMORY = "out of memory; lower slices.days, slices.stocks or runtime.chunk_tokens"
    TIMED_OUT = "ran longer than budget.trial_hours; raise it or give fewer epochs"
    NON_FINITE = "a loss or gradient became NaN or infinite; lower the rates of the phase named"
    UNHEALTHY = "the network was dead before epoch 1; see the input family or group named"
    CRASHED = "the process died; see log.txt of its last attempt"
    ERROR = "an error in the code or the configuration; see the traceback in log.txt"

    @property
    def retryable(self) -> bool:
        """Whether another attempt may end differently."""
        return self in (Outcome.CRASHED, Outcome.OUT_OF_MEMORY)

    @property
    def failed(self) -> bool:
        """Whether Optuna records the trial as FAIL."""
        return self not in (Outcome.COMPLETE, Outcome.PRUNED)
