"""Encoding and network in Triton: forward, and forward with backward, a block of points at a time.

A program takes BLOCK points through everything. The first layer's product is summed over groups of 16 features as they
are found: all at once they and what finds them would not fit the registers.

``train`` computes the hidden layers once more. Each of its programs holds those of its block for the way back in memory
of its own (16 kB in 16 bits for two layers of 64 units, so that all of them stay in the second cache), and so the
features, unless ``forward`` kept them: in registers they would fit only of a small network, of a depth known before.

Its programs are few and each takes many blocks, one after the other. What these are to the weights each sums in its own
row of ``partials``, by plain loads and stores, and ``reduce`` adds the rows in their order: no atomics, and the same
bits in every run on a machine. (Sums in registers, 56 a thread for a 64 x 64 layer and its neighbors, were tried: they
spilled on sm_80.)

What all programs know of the network: IN features (N_IN of them real) of an ENCODING, HIDDEN layers of WIDTH
units (N_WIDTH) and OUT values (N_OUT); DIM, F, INTERPOLATION, HASHED are of the encoding (``features_of``). In the
parameters the first linear map takes up FIRST numbers and each further hidden one STEP. ``factors`` are the parameters
in the type TYPE of the products' factors, those of float32 in three parts of bfloat16, PLANE numbers each.
"""

import dataclasses
from typing import Any, no_type_check

import triton
import triton.language as tl

from neufield.kernels.field.block_programs import loss_of
from neufield.kernels.field.launch_shapes import WARPS, constants, held
from neufield.kernels.field.network_programs import back_through_network, through_network
from neufield.kernels.field.spec import FieldSpec
from neufield.kernels.gpu import Variant
from neufield.kernels.grid.cell_programs import read_points
from neufield.kernels.grid.spec import GridSpec


@triton.jit
@no_type_check
def forward(
    x,
    table,
    levels,
    params,
    factors,
    kept,
    y,
    n,
    ENCODING: tl.constexpr,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    N_IN: tl.constexpr,
    IN: tl.constexpr,
    N_WIDTH: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    N_OUT: tl.constexpr,
    OUT: tl.constexpr,
    FIRST: tl.constexpr,
    STEP: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BIAS: tl.constexpr,
    TYPE: tl.constexpr,
    PLANE: tl.constexpr,
    BLOCK: tl.constexpr,
    KEEP: tl.constexpr,
):
    """The values ``y`` (n, N_OUT) at ``x`` (n, DIM), or (n, N_IN) where features are given."""
    begin = tl.program_id(0).to(tl.int64) * BLOCK
    row = tl.arange(0, BLOCK)[:, None]
    valid = begin + row < n
    x += begin * DIM
    points = ()
    if ENCODING == "grid":
        points = read_points(x, row, valid, DIM)
    values = through_network(
        x, table, levels, params, factors, kept + begin * N_IN, factors, points, valid,
        ENCODING, DIM, F, INTERPOLATION, HASHED, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP,
        ACTIVATION, BIAS, TYPE, PLANE, BLOCK, KEEP, False,
    )  # fmt: skip
    column = tl.arange(0, OUT)[None, :]
    tl.store(y + begin * N_OUT + row * N_OUT + column, values, mask=valid & (column < N_OUT))


# Long because it is one launch from points to gradients: what a block holds in registers, a second one would load.
@triton.jit
@no_type_check
def train(
    x,
    table,
    levels,
    params,
    factors,
    kept,
    held,
    given,
    weight,
    error,
    by_table,
    by_features,
    partials,
    n,
    stride,
    share,
    ENCODING: tl.constexpr,
    DIM: tl.constexpr,
    F: tl.constexpr,
    INTERPOLATION: tl.constexpr,
    HASHED: tl.constexpr,
    N_IN: tl.constexpr,
    IN: tl.constexpr,
    N_WIDTH: tl.constexpr,
    WIDTH: tl.constexpr,
    HIDDEN: tl.constexpr,
    N_OUT: tl.constexpr,
    OUT: tl.constexpr,
    FIRST: tl.constexpr,
    STEP: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BIAS: tl.constexpr,
    TYPE: tl.constexpr,
    PLANE: tl.constexpr,
    BLOCK: tl.constexpr,
    HELD: tl.constexpr,
    LOSS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    KEPT: tl.constexpr,
    BACK: tl.constexpr,
):
    """Gradients by table, features and, as a row of ``partials`` for each program, parameters.

    Without a LOSS ("none") ``given`` (n, N_OUT) are the gradients by the values. With one they are targets; ``error``
    (n,) is written, its sum, weighted, stands behind the row's parameters, and ``share`` is what of a value's loss goes
    into the mean.
    KEPT: features are "given", as ``forward`` kept them; found and kept by each program as its "own" for the way back;
    or, "no", found both times.
    HELD: how many numbers of hidden layers a program holds.
    BACK: what is made of the gradient by features: the "table"'s, the "features"' or "nothing".
    """
    # Addresses computed ahead of the loop would take up registers that its blocks want.
    for block in tl.range(tl.program_id(0), tl.cdiv(n, BLOCK), tl.num_programs(0), num_stages=1, disable_licm=True):
        begin = tl.cast(block, tl.int64) * BLOCK
        row = tl.arange(0, BLOCK)[:, None]
        column = tl.arange(0, OUT)[None, :]
        valid = begin + row < n
        mine = partials + tl.program_id(0) * stride
        here = x + begin * DIM
        waiting = here
        if KEPT == "given":
            waiting = kept + begin * N_IN
        elif KEPT == "own":
            waiting = kept + tl.program_id(0) * BLOCK * N_IN
        at_held = held + tl.program_id(0) * HELD
        points = ()
        if ENCODING == "grid":
            points = read_points(here, row, valid, DIM)
        y = through_network(
            waiting if KEPT == "given" else here, table, levels, params, factors, waiting, at_held, points, valid,
            "features" if KEPT == "given" else ENCODING, DIM, F, INTERPOLATION, HASHED, N_IN, IN,
            N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP, ACTIVATION, BIAS, TYPE, PLANE, BLOCK, KEPT == "own", True,
        )  # fmt: skip
        later = begin >= tl.num_programs(0) * BLOCK
        cost = 0.0  # without a LOSS, for ``reduce`` reads it in any case
        real = valid & (column < N_OUT)
        g = tl.load(given + begin * N_OUT + row * N_OUT + column, mask=real, other=0.0)
        if LOSS != "none":
            value, g = loss_of(y, g, LOSS)
            errors = tl.sum(tl.where(real, value, 0.0), 1) * (1.0 / N_OUT)
            point = tl.arange(0, BLOCK)
            tl.store(error + begin + point, errors, mask=begin + point < n)
            if WEIGHTED:
                counts = tl.load(weight + begin + point, mask=begin + point < n, other=0.0)
                errors = errors * counts
                g = g * counts[:, None]
            cost = tl.where(later, tl.load(mine + stride - 1), 0.0) + tl.sum(errors, 0)
            g = tl.where(real, g * share, 0.0)
        tl.store(mine + stride - 1, cost)
        tl.debug_barrier()  # other threads have written what is now read
        back_through_network(
            g, at_held, later, here, waiting, levels, factors, mine, valid,
            by_table, by_features + begin * N_IN,
            ENCODING, DIM, F, INTERPOLATION, HASHED, N_IN, IN, N_WIDTH, WIDTH, HIDDEN, N_OUT, OUT, FIRST, STEP,
            ACTIVATION, BIAS, TYPE, PLANE, BLOCK, ENCODING if KEPT == "no" else "features", BACK,
        )  # fmt: skip
        tl.debug_barrier()  # before what is held of the next block is written over this


@triton.jit
@no_type_check
def reduce(partials, found, total, rows, columns, stride, share, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """``found`` (columns,): the sums over the rows of ``partials``, in their order; ``total``: a share of the last."""
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, rows, ROWS):
        row = first + tl.arange(0, ROWS)[:, None]
        there = (row < rows) & (column < stride)[None, :]
        sums += tl.load(partials + row * stride + column[None, :], mask=there, other=0.0)
    sums = tl.sum(sums, 0)
    tl.store(found + column, sums, mask=column < columns)
    tl.store(total + column * 0, sums * share, mask=column == columns)


@triton.jit
@no_type_check
def rescale(numbers, scale, n, BLOCK: tl.constexpr):
    """``numbers`` times ``scale``, a number on the device, in place; nothing is read where it is 1."""
    factor = tl.load(scale)
    if factor != 1.0:
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        tl.store(numbers + at, tl.load(numbers + at, mask=at < n) * factor, mask=at < n)


_W = GridSpec(2, log2_hashmap_size=15, per_level_scale=1.5)
_V = GridSpec(3, per_level_scale=1.447)
_SPECS = {
    "W": FieldSpec(32, 3, 64, 2, "relu", False, _W),
    "V": FieldSpec(32, 16, 64, 2, "relu", False, _V),
    "density": FieldSpec(32, 16, 64, 1, "relu", False, _V),
    "color": FieldSpec(32, 3, 64, 2, "relu", False),
}


def variants() -> list[Variant]:
    """What a step launches of the workloads W and V and of the radiance field's two networks, in each precision."""
    found = []
    for name, plain in _SPECS.items():
        for precision in ("fp32", "fp16", "bf16"):
            spec = dataclasses.replace(plain, precision=precision)
            found.append(_variant(f"{name}, {precision}", forward, spec, KEEP=False))
            found.append(_variant(f"{name}, {precision}, features kept", forward, spec, KEEP=spec.encoding is not None))
            back = "table" if spec.encoding else "features"
            for loss, kept in (("none", "given"), ("l2", "own")):
                modes = {
                    "HELD": held(spec),
                    "LOSS": loss,
                    "WEIGHTED": False,
                    "KEPT": kept if spec.encoding else "no",
                    "BACK": back,
                }
                found.append(_variant(f"{name}, {precision}, loss {loss}", train, spec, **modes))
    return found


def _variant(title: str, program: Any, spec: FieldSpec, **modes: object) -> Variant:
    known = constants(spec) | modes
    narrow = "*fp16" if spec.precision == "fp16" else "*bf16"
    types = {
        "levels": "*i32",
        "factors": narrow,
        "held": narrow,
        "n": "i32",
        "stride": "i32",
        "share": "fp32",
    }
    signature = {name: types.get(name, "*fp32") for name in program.arg_names if name not in known}
    return Variant(f"field {program.__name__}, {title}", program, signature, known, WARPS)
