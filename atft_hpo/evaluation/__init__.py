"""What a forecast is worth: metrics, portfolios, luck. Asks neither model nor training."""
