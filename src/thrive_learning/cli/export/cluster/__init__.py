"""`thrive activity export --dask`: parts of a folder, which the workers of a Dask cluster write."""
