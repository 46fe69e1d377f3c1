"""One generated operation: arguments in, model out; and the seam below it."""
