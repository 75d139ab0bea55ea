"""What does a run: phases, epochs, steps, and the gates before them."""
