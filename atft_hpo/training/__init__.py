"""Training through phases. Knows nothing of Optuna: it calls `on_epoch(report) -> Decision`."""
