"""What went wrong, said on standard error. Nothing is imported for it, so that ``--help`` pays for no drawing."""

import re
import sys

# Terminals obey them; a name may hold them. A surrogate is a byte of a name that is not UTF-8.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def visible(text: str) -> str:
    r"""``text`` with what a terminal would obey written as ``\x1b``."""
    return _OBEYED.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def complain(sentence: str) -> None:
    """Say on standard error what went wrong."""
    print(f"neufield: {visible(sentence)}", file=sys.stderr)
