"""What the platform needs in order to serve, and what is told of it."""
