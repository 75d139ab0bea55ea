"""Search: space, samplers, pruner, objective, selection. No processes, no database of its own."""
