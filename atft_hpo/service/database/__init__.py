"""Postgres: reachable, with our tables; rows in and out."""
