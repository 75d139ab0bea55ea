"""Prices and volumes of one unit through time, from what a table says of splits and dividends."""
