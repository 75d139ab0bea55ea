"""What a panel holds, and whether a feature knows the future."""
