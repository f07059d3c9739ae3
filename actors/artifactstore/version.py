"""The version of this distribution. It is a constant, because looking it up takes longer than Python takes to start."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
