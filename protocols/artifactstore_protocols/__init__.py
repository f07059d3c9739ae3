"""The pure half of artifactstore: values, messages, codecs, state machines and interfaces.

Nothing below this package imports trio, asyncio or SQLAlchemy, opens a file or reads a clock; a test holds that line.
"""
