"""Reading tables that people give: which columns, which rows, which prices."""
