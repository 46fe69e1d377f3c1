"""Sends and receives bytes: the port, and httpx's transports behind it."""
