"""What tests of data share: a configuration of short slices, and a full disk."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from atft_hpo.config.data_schema import DataConfig
from atft_hpo.config.schema import Config
from atft_hpo.config.toml import build_config
from atft_hpo.config.training_schema import PHASE_NAMES


@pytest.fixture(scope="session")
def config(data_config: DataConfig) -> Config:
    """Short slices and graphs for the small market."""
    return build_config(
        {
            "data": data_config.model_dump(mode="json", exclude_none=True),
            "graph": {
                "window_days": 20,
                "refresh_days": 7,
                "neighbours": 4,
                "min_correlation": 0.1,
            },
            "slices": {"days": 16, "context_days": 20},
            "split": {"embargo_days": 2},
            "phases": {name: {"horizon_weights": [1.0]} for name in PHASE_NAMES},
        }
    )


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """with file_size_limit(bytes): the kernel fails longer writes, as it does on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
