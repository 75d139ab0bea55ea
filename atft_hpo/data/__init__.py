"""Panels: feature building, packing, splits, graph edges, slices, synthetic markets."""
