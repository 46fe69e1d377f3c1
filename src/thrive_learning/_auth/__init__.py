"""Adds Authorization to a request: requests tokens and shares them between callers and processes."""
