"""Who works on what: slots, leases, budgets, and what people ask of them."""
