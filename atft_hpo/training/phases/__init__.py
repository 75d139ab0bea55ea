"""What a run is: its phases, what it is judged by, what it reports."""
