"""In the process of an agent: it claims slots, starts trials, and sees them through."""
