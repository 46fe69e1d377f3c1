"""The fast engine, an extra: a connection pool and asyncio streams of our own, and llhttp as the parser."""
