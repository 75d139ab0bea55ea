"""The models of the comparison."""
