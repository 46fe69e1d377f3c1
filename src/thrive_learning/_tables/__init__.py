"""The table of activity records: its columns, its rows, and its form in Arrow."""
