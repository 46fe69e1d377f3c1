"""Side-by-side measurements: `nox -s bench`. What they mean: docs/explanation/performance.md."""
