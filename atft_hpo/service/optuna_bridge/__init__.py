"""Optuna asked for parameters, and told how trials ended."""
