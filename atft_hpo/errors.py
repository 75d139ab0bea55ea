"""Every error this project raises on purpose.

The text says what was found, what was expected and what to do; the command line prints it on
one line and exits with `exit_code`. A traceback is for defects (and for `--debug`) only.

    AtftHpoError                 1
    ├─ ConfigError               2   a study file or a command-line value
    ├─ DataError                 3   the input table or the panel
    │   └─ PanelStoreError       3   a panel store on disk: absent, incomplete, altered
    ├─ StorageError              4   the database
    ├─ StudyError                5   a study's state: unknown, changed space, too many failures
    ├─ VolumeError               6   the shared volume: full, not writable
    ├─ CheckpointError           7   a checkpoint: absent, altered, of other features
    └─ TrainingError             8
        ├─ NonFiniteError        8   a loss or a gradient is NaN or infinite
        └─ HealthGateError       8   the network is dead before epoch 1
"""


class AtftHpoError(Exception):
    """Base of all errors raised on purpose; its text is the message a user reads."""

    exit_code = 1


class ConfigError(AtftHpoError):
    """A study file or a command-line value is not valid."""

    exit_code = 2


class DataError(AtftHpoError):
    """The input table or the panel built from it cannot be used as it is."""

    exit_code = 3


class PanelStoreError(DataError):
    """A panel store is absent, incomplete, or its files differ from its manifest."""


class StorageError(AtftHpoError):
    """The database cannot be reached or refused the work."""

    exit_code = 4


class StudyError(AtftHpoError):
    """The study is unknown, its space has changed, or its trials all fail the same way."""

    exit_code = 5


class VolumeError(AtftHpoError):
    """The shared volume is full or cannot be written."""

    exit_code = 6


class CheckpointError(AtftHpoError):
    """A checkpoint is absent, altered, or belongs to other features or another model."""

    exit_code = 7


class TrainingError(AtftHpoError):
    """Training cannot go on."""

    exit_code = 8


class NonFiniteError(TrainingError):
    """A loss or a gradient became NaN or infinite; the text names the term, phase and step."""


class HealthGateError(TrainingError):
    """The network is dead before the first epoch; the text names the input family or group."""
