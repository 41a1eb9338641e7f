"""Fields of other programs, read and written: what they computed there they compute here."""

from neufield.interchange.ingp import read_ingp
from neufield.interchange.ingp_writer import write_ingp

__all__ = ["read_ingp", "write_ingp"]
