"""The pure half of artifactstore: values, messages, codecs, state machines and interfaces.

No module of this package imports trio, asyncio or SQLAlchemy, opens a file or reads a clock. A test checks this.
"""
