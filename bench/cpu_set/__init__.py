"""What bench/suite.py runs without a GPU, and the table and plots it makes of it."""
