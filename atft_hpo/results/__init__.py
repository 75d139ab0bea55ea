"""What people take home: summaries, reports, figures, backtests, predictions."""
