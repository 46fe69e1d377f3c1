"""Side-by-side measurements: `nox -s bench`. docs/explanation/performance.md interprets them."""
