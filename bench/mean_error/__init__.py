"""How often a t-statistic of a mean is beyond 2 although the truth is 0."""
