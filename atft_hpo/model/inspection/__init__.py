"""Watching a model, and switching parts of it off."""
