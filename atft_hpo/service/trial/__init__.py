"""In the process of a trial: what it is to do, its training, its epochs."""
