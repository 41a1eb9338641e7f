"""Pictures of any storage as a screen shows them."""

import numpy as np
from jaxtyping import Shaped, UInt8

from neufield.formats.color import to_srgb
from neufield.formats.pixels import ImageFacts, eight_bit

_GRAY_LIGHT = np.float32(0.21404)  # linear, of sRGB's 0.5
_LARGEST = 1536  # pixels of a side


def stride_of(values: np.ndarray) -> int:
    """Large pictures are shown thinned, so that no float copy of a whole one is made: every so many pixels."""
    return max(1, max(values.shape[:2]) // _LARGEST)


def to_screen(values: Shaped[np.ndarray, "h w c"], facts: ImageFacts) -> UInt8[np.ndarray, "H W 3"]:
    """8-bit sRGB for the eye: linear light is divided by the peak, another profile converted, alpha shows on gray."""
    small = values[:: stride_of(values), :: stride_of(values)]
    if facts.profile:
        small = to_srgb(eight_bit(small), facts.icc) / np.float32(255)
    else:
        small = small.astype(np.float32) / facts.steps
    colors = small[..., :-1] if small.shape[-1] in (2, 4) else small
    space = 1 - small[..., -1:] if small.shape[-1] in (2, 4) else np.float32(0)  # what is seen of the gray behind
    if facts.transfer == "linear":  # with alpha multiplied in, as in EXR
        scale = max(float(np.percentile(colors, 99.5)), 1e-9)
        colors = np.clip(np.clip(colors / scale, 0, 1) + _GRAY_LIGHT * space, 0, 1)
        colors = np.where(colors <= 0.0031308, 12.92 * colors, 1.055 * colors ** (1 / 2.4) - 0.055)
    else:
        colors = colors * (1 - space) + 0.5 * space
    if colors.shape[-1] == 1:
        colors = colors.repeat(3, axis=-1)
    return (np.clip(colors, 0, 1) * 255).round().astype(np.uint8)
