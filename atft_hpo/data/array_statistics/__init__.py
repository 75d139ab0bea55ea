"""Statistics of arrays, of a day's stocks or along the days: ranks, order, trailing windows."""
