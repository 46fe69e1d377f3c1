"""The fast engine, an extra: our own connection pool and asyncio streams, with llhttp as the parser."""
