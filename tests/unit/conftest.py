"""What unit tests share: the same examples in every run, and no deadline that a busy machine could miss."""

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
