"""Which days and stocks a step takes: splits, cuts, neighbours, slices."""
