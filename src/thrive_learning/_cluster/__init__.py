"""Reads records in the workers of a cluster: windows of time, clients, tokens, and one partition. No Dask."""
