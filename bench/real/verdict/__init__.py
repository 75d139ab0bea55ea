"""What their forecasts are worth, one by one and against each other."""
