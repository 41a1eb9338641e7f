"""neufield: neural fields for PyTorch."""

__version__ = "0.1.0"
