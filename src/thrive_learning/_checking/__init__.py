"""The requests of `client.check()`, and what it concludes from the responses."""
