"""The panel store: made from a table, opened memory-mapped."""
