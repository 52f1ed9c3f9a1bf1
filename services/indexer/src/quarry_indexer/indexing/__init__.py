"""The work itself: taking jobs, leading each through its stages, and removing what is no longer needed."""
