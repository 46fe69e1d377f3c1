"""Turns arguments, environment variables, and profiles into the region and credentials of a client."""
