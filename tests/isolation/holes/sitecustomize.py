"""Imported by every Python process of the platform: what runs a service has holes in it."""

import sys

if sys.orig_argv[-2:-1] == ["run"]:
    import holes  # noqa: F401 - it does its work when it is imported
