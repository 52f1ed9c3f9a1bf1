"""Postgres: one schema and two roles per service, every tenant's rows behind row-level security."""
