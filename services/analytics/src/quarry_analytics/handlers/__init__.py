"""What answers `rpc.v1.analytics.*`."""

SERVICE = "analytics"
