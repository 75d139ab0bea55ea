"""Configuration: one schema, read from TOML; the environment is read in `settings` only."""
