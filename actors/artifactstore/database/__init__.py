"""The log and its tables in SQLite or PostgreSQL, which are accessed from a separate asyncio thread."""
