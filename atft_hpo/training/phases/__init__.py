"""What a run is: its phases, its objective, what it reports."""
