"""`thrive activity export`: many records into files or streams."""
