"""Webhooks: events are delivered to endpoints of tenants, signed, at least once."""
