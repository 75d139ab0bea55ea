"""Programs that measure: one folder a question, run from the checkout's root with `python -m`."""
