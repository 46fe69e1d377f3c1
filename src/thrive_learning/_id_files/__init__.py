"""Files of IDs: their lines, and the IDs in them."""
