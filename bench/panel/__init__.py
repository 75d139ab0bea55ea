"""How fast does a table of features become a panel store? And random ones of any size."""
