"""A limit on requests per second: its arithmetic, what servers say of theirs, and waiting."""
