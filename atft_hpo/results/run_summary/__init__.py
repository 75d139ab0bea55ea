"""`summary.md` of a run."""
