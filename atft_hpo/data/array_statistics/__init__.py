"""Statistics of arrays, across a day's stocks or along days: ranks, order, trailing windows."""
