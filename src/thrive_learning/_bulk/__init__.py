"""Fetches many records concurrently. One module decides, and the others act."""
