"""Files -> samples."""

from neufield.signals.image import Image, ImageFacts, render, suffix_for, write_image

__all__ = ["Image", "ImageFacts", "render", "suffix_for", "write_image"]
