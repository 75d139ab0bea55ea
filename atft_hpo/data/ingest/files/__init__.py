"""Files of a table: which they are, and their rows in pieces, whatever the format."""
