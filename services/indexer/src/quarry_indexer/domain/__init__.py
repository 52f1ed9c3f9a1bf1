"""Rules of documents and jobs: no I/O, no framework."""
