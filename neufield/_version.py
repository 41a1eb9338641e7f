"""The version, in a file that imports nothing: for the package, for what it writes, and for who builds it."""

__version__ = "0.1.0"
