"""Runs one generated operation, from its arguments to a model, through the seam to HTTP."""
