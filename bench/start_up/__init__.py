"""Parts of bench/startup.py."""
