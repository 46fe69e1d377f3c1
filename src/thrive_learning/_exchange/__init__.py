"""Turns a request into a reply or an error: attempts, retries, body, reply, messages, choice of engine."""
