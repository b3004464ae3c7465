"""How objects become messages: pickling, and tracebacks that cross processes."""
