"""ATFT-GAT-FAN: every module is causal in time and enters through a zero-start strength."""
