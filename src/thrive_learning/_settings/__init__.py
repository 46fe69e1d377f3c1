"""Arguments, environment variables and profiles: the region and the credentials of a client."""
