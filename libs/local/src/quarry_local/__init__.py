"""The Quarry platform on one machine without Docker, and the servers that tests start."""
