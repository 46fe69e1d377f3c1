"""What `client.check()` sends, and what it makes of what comes back."""
