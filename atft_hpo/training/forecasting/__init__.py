"""From a panel and a model to forecasts."""
