"""What several questions need: a clock, the machine's own rates, processes that end."""
