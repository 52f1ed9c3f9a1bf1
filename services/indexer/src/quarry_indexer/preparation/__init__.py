"""Files in, text and chunks out: parsing and chunking in supervised child processes."""
