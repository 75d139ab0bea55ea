"""What a checkpoint looks at, as tables and pictures."""
