"""The parts of bench/suite.py.

parts      what is run, and running it
rows       what a part found, against what was asked
report     results.json, table.md and plots.html
plots      the figures
"""
