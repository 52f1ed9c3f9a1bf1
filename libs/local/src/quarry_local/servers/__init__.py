"""The servers of the platform as local programs: find, install, describe, start, stop."""
