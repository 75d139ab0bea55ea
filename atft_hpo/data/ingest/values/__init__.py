"""Values of columns: dates, texts, numbers, flags, whatever the type they came in."""
