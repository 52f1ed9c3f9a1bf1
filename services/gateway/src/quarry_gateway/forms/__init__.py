"""What callers send, read and checked."""
