"""Every test may use the servers of `quarry_local.testing`."""

pytest_plugins = ["quarry_local.testing"]
