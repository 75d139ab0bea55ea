"""How many trials this machine carries at a time."""
