"""Where services meet: subjects, streams and the types of every message. Nothing here does I/O."""
