"""The log and its tables on SQLite or PostgreSQL, behind an asyncio thread of their own."""
