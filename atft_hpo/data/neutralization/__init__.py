"""What forecasts are trained on and held against, beyond raw returns."""
