"""How weights change: optimiser, rates, averages."""
