"""Features from daily prices."""
