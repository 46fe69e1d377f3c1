"""Many records at once: one module decides, the others act."""
