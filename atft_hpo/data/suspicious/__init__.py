"""What in a table of prices looks wrong: bad prints, unadjusted splits, thin days, stale closes."""
