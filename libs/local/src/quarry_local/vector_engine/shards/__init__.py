"""A shard of the engine library in a process of its own.

The library holds the interpreter's lock during each call, and opening or closing a large shard is one call of
a quarter of a second. So the process that listens opens none: it asks one process per collection, `process`,
and an optimised copy is opened by another one before it takes over. `frames` is what they say to each other,
`operations` what a shard does when it is asked.
"""
