"""The caches of all processes: told of and emptied."""
