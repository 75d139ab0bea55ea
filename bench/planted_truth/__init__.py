"""Planted truth: its market, its ceilings, the model's variants, and what they have learned."""
