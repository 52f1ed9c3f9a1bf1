"""Documents in, text out: the type told from the bytes, the text extracted from each format."""
