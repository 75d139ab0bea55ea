"""A study in the database: made, continued, read."""
