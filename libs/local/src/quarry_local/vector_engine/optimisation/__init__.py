"""Builds a collection's indexes in a child process, on a copy, and puts the copy in its place.

`run` is one run from the copy to the swap, `child` what the other process does; `optimiser` says when.
"""
