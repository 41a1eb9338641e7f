"""What the launches of the field's Triton programs are given: sizes of blocks and what is compiled in.

Who launches (:mod:`.triton`) and the programs' own ``variants()``, which are compiled without a launch, both read it
here.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from neufield.kernels.field.spec import FieldSpec
from neufield.kernels.grid.launch_shapes import constants as grid_constants

# A warp takes 16 points through a product on tensor cores, and on Hopper four warps take them together. With more
# points a program's registers would not suffice, with fewer the weights would be read more often.
BLOCK, WARPS = 64, 4
_SMOOTH = ("silu", "sine")  # activations whose slope is held beside their value


# By the kind of what stands before the network: what else of it is compiled in.
_FRONT: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "features": lambda _: {},
    "frequency": lambda encoding: {"F": encoding.n_frequencies},
    "grid": grid_constants,
}


@functools.lru_cache(maxsize=64)
def constants(spec: FieldSpec) -> dict[str, Any]:
    """What the programs have compiled in."""
    import triton
    import triton.language as tl

    def padded(size: int) -> int:
        return max(16, triton.next_power_of_2(size))

    next_dim = spec.width if spec.n_hidden_layers else spec.out_dim
    return {
        "ENCODING": spec.kind,
        "DIM": spec.points_dim,
        **{"F": 1, "INTERPOLATION": "", "HASHED": ""},
        **_FRONT[spec.kind](spec.encoding),
        "N_IN": spec.in_dim,
        "IN": -(-spec.in_dim // 16) * 16,
        "N_WIDTH": spec.width,
        "WIDTH": padded(spec.width),
        "HIDDEN": spec.n_hidden_layers,
        "N_OUT": spec.out_dim,
        "OUT": padded(spec.out_dim),
        "FIRST": next_dim * (spec.in_dim + spec.bias),
        "STEP": spec.width * (spec.width + spec.bias),
        "ACTIVATION": spec.activation,
        "BIAS": int(spec.bias),
        "TYPE": {"fp32": tl.float32, "fp16": tl.float16, "bf16": tl.bfloat16}[spec.precision],
        "PLANE": plane(spec),
        "BLOCK": BLOCK,
    }


def held(spec: FieldSpec) -> int:
    """Narrow numbers of hidden layers that a program of ``train`` holds in memory for the way back."""
    known = constants(spec)
    blocks = (2 if spec.activation in _SMOOTH else 1) * (3 if spec.precision == "fp32" else 1)
    return spec.n_hidden_layers * blocks * known["BLOCK"] * known["WIDTH"]


def plane(spec: FieldSpec) -> int:
    """Numbers in each part of the factors; a multiple of 16, so that the parts lie as well as the first."""
    return -(-spec.n_params // 16) * 16
