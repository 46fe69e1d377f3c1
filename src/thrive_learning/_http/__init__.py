"""Sends and receives bytes, through a port with httpx's transports behind it."""
