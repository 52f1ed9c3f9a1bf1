"""Rules of tenants, keys and the audit log: no I/O."""
