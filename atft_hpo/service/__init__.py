"""The service: database, leases, agents, trial processes, live view."""
