"""Hyperparameter search for deep models that forecast stocks."""

__version__ = "0.1.0"
