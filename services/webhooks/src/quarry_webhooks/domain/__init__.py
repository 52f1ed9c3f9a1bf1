"""Rules of webhooks, without any I/O."""
