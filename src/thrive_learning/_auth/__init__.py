"""Adds Authorization to a request: tokens, who requests them, and how processes share them."""
