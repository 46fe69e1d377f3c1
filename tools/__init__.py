"""Scripts that are neither product nor test: what the sessions of nox run."""
